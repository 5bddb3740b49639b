// The test service of this package in C++. doc.go says what it does.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/method_handler.h>
#include <grpcpp/impl/codegen/rpc_service_method.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/impl/codegen/sync_stream.h>
#include <grpcpp/support/byte_buffer.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <thread>

using grpc::ByteBuffer;
using grpc::ServerContext;
using grpc::Status;

static int log_file = -1;

static void Log(const std::string& what, const std::string& id) {
  std::string line = what + " " + id + "\n";
  if (write(log_file, line.data(), line.size()) < 0) perror("write");
}

// Valid is the message, or an empty one if a call that was cancelled has brought none.
static ByteBuffer Valid(const ByteBuffer& message) {
  if (message.Valid()) return message;
  grpc::Slice empty;
  return ByteBuffer(&empty, 1);
}

// Call is what the metadata of a call asks for.
class Call {
 public:
  explicit Call(ServerContext* context) : context_(context) {
    Log("start", Get("x-id"));
    for (const auto& field : context->client_metadata()) {
      std::string name(field.first.data(), field.first.size());
      std::string value(field.second.data(), field.second.size());
      if (name.rfind("x-echo-", 0) == 0) {
        context->AddInitialMetadata(name, value);
        context->AddTrailingMetadata(name, value);
      }
    }
  }

  std::string Get(const char* name) const {
    auto found = context_->client_metadata().find(name);
    if (found == context_->client_metadata().end()) return "";
    return std::string(found->second.data(), found->second.size());
  }

  int Number(const char* name) const { return std::atoi(Get(name).c_str()); }

  // End waits as long as the call says, and returns its status.
  Status End(int messages) {
    auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(Number("x-wait-ms"));
    while (std::chrono::steady_clock::now() < end && !context_->IsCancelled())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (context_->IsCancelled()) {
      Log("cancelled", Get("x-id"));
      return Status::CANCELLED;
    }
    context_->AddTrailingMetadata("x-messages", std::to_string(messages));
    Log("end", Get("x-id"));
    if (Number("x-code") == 0) return Status::OK;
    return Status(static_cast<grpc::StatusCode>(Number("x-code")), Get("x-message-bin"), Get("x-details-bin"));
  }

 private:
  ServerContext* context_;
};

class Peer : public grpc::Service {
 public:
  Peer() {
    using grpc::internal::RpcMethod;
    using grpc::internal::RpcServiceMethod;
    AddMethod(new RpcServiceMethod("/peers.Peer/Unary", RpcMethod::NORMAL_RPC,
        new grpc::internal::RpcMethodHandler<Peer, ByteBuffer, ByteBuffer>(
            [](Peer*, ServerContext* context, const ByteBuffer* request, ByteBuffer* answer) {
              Call call(context);
              *answer = Valid(*request);
              return call.End(1);
            }, this)));
    AddMethod(new RpcServiceMethod("/peers.Peer/Download", RpcMethod::SERVER_STREAMING,
        new grpc::internal::ServerStreamingHandler<Peer, ByteBuffer, ByteBuffer>(
            [](Peer*, ServerContext* context, const ByteBuffer* request, grpc::ServerWriter<ByteBuffer>* writer) {
              Call call(context);
              for (int i = call.Number("x-times"); i > 0; i--)
                if (!writer->Write(Valid(*request))) break;
              return call.End(1);
            }, this)));
    AddMethod(new RpcServiceMethod("/peers.Peer/Upload", RpcMethod::CLIENT_STREAMING,
        new grpc::internal::ClientStreamingHandler<Peer, ByteBuffer, ByteBuffer>(
            [](Peer*, ServerContext* context, grpc::ServerReader<ByteBuffer>* reader, ByteBuffer* answer) {
              Call call(context);
              int messages = 0;
              *answer = Valid(ByteBuffer());
              for (ByteBuffer message; reader->Read(&message); messages++) *answer = message;
              return call.End(messages);
            }, this)));
    AddMethod(new RpcServiceMethod("/peers.Peer/Chat", RpcMethod::BIDI_STREAMING,
        new grpc::internal::BidiStreamingHandler<Peer, ByteBuffer, ByteBuffer>(
            [](Peer*, ServerContext* context, grpc::ServerReaderWriter<ByteBuffer, ByteBuffer>* stream) {
              Call call(context);
              int messages = 0;
              for (ByteBuffer message; stream->Read(&message); messages++)
                if (!stream->Write(message)) break;
              return call.End(messages);
            }, this)));
  }
};

int main(int argc, char** argv) {
  std::map<std::string, std::string> flags;
  for (int i = 1; i + 1 < argc; i += 2) flags[argv[i]] = argv[i + 1];
  log_file = open(flags["--log"].c_str(), O_WRONLY | O_APPEND | O_CREAT, 0600);

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  Peer service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + flags["--port"], grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(std::stoi(flags["--max-message"]));
  builder.SetMaxSendMessageSize(-1);
  if (std::stoi(flags["--streams"]) > 0)
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, std::stoi(flags["--streams"]));
  if (flags["--pings"] == "true") {
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server) return 1;
  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown();  // waits for the calls
  server->Wait();
  return 0;
}
