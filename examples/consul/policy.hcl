# What the gateway's token may read, if Consul has access control.
service "user" {
  policy = "read"
}
node_prefix "" {
  policy = "read"
}
