# What the gateway's token may read, if Consul has access control. For `discover consul user`, read
# of the service "user" is enough. A catalog has the services that its token may read.
service_prefix "" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
