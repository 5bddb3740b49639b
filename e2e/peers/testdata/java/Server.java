import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.netty.NettyServerBuilder;
import java.io.ByteArrayInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** The test service of this package in Java. doc.go says what it does. */
final class Server {
  private static FileOutputStream log;
  private static final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();

  /** Messages are bytes. */
  private static final MethodDescriptor.Marshaller<byte[]> BYTES = new MethodDescriptor.Marshaller<byte[]>() {
    @Override public InputStream stream(byte[] message) { return new ByteArrayInputStream(message); }

    @Override public byte[] parse(InputStream stream) {
      try {
        return stream.readAllBytes();
      } catch (IOException e) {
        throw new IllegalStateException(e);
      }
    }
  };

  static Metadata.Key<String> text(String name) { return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER); }

  static Metadata.Key<byte[]> binary(String name) { return Metadata.Key.of(name, Metadata.BINARY_BYTE_MARSHALLER); }

  /** A call. What the metadata asks for is in its fields. Its methods are called one at a time. */
  private static final class Call extends ServerCall.Listener<byte[]> {
    final ServerCall<byte[], byte[]> call;
    final Metadata request;
    final MethodType type;
    final String id;
    byte[] last = new byte[0];
    int messages;
    int left;
    boolean half;
    boolean ended;

    Call(ServerCall<byte[], byte[]> call, Metadata request) {
      this.call = call;
      this.request = request;
      type = call.getMethodDescriptor().getType();
      String id = request.get(text("x-id"));
      this.id = id == null ? "" : id;
      write("start");
      call.sendHeaders(echo());
      call.request(1);
    }

    void write(String what) {
      try {
        log.write((what + " " + id + "\n").getBytes(StandardCharsets.UTF_8));
      } catch (IOException e) {
        throw new IllegalStateException(e);
      }
    }

    int number(String name) {
      String value = request.get(text(name));
      return value == null ? 0 : Integer.parseInt(value);
    }

    Metadata echo() {
      Metadata echo = new Metadata();
      for (String name : request.keys()) {
        if (!name.startsWith("x-echo-")) continue;
        if (name.endsWith("-bin")) {
          for (byte[] value : request.getAll(binary(name))) echo.put(binary(name), value);
        } else {
          for (String value : request.getAll(text(name))) echo.put(text(name), value);
        }
      }
      return echo;
    }

    @Override public void onMessage(byte[] message) {
      messages++;
      last = message;
      if (type == MethodType.BIDI_STREAMING) call.sendMessage(message);
      if (type != MethodType.BIDI_STREAMING || call.isReady()) call.request(1);
    }

    @Override public void onHalfClose() {
      half = true;
      left = type == MethodType.SERVER_STREAMING ? number("x-times") : 0;
      onReady();
      if (left == 0) finish();
    }

    @Override public void onReady() {
      if (!half) {
        if (type == MethodType.BIDI_STREAMING && messages > 0) call.request(1);
        return;
      }
      if (left == 0) return;
      for (; left > 0 && call.isReady(); left--) call.sendMessage(last);
      if (left == 0) finish();
    }

    /** Ends the call, after the time that it says. */
    void finish() {
      if (ended) return;
      ended = true;
      int ms = number("x-wait-ms");
      if (ms == 0) close();
      else timer.schedule(this::close, ms, TimeUnit.MILLISECONDS);
    }

    synchronized void close() {
      if (call.isCancelled()) return;
      Metadata trailer = echo();
      trailer.put(text("x-messages"), Integer.toString(messages));
      write("end");
      int code = number("x-code");
      if (code == 0 && (type == MethodType.UNARY || type == MethodType.CLIENT_STREAMING)) call.sendMessage(last);
      Status status = Status.fromCodeValue(code);
      byte[] message = request.get(binary("x-message-bin"));
      if (message != null) status = status.withDescription(new String(message, StandardCharsets.UTF_8));
      byte[] details = request.get(binary("x-details-bin"));
      if (details != null) trailer.put(binary("grpc-status-details-bin"), details);
      call.close(status, trailer);
    }

    @Override public void onCancel() { write("cancelled"); }
  }

  static MethodDescriptor<byte[], byte[]> method(String name, MethodType type) {
    return MethodDescriptor.newBuilder(BYTES, BYTES).setFullMethodName("peers.Peer/" + name).setType(type).build();
  }

  public static void main(String[] args) throws Exception {
    Map<String, String> flags = new HashMap<>();
    for (int i = 0; i + 1 < args.length; i += 2) flags.put(args[i], args[i + 1]);
    log = new FileOutputStream(flags.get("--log"), true);
    ServerCallHandler<byte[], byte[]> handler = Call::new;
    NettyServerBuilder builder = NettyServerBuilder
        .forAddress(new InetSocketAddress("127.0.0.1", Integer.parseInt(flags.get("--port"))))
        .maxInboundMessageSize(Integer.parseInt(flags.get("--max-message")))
        .addService(ServerServiceDefinition.builder("peers.Peer")
            .addMethod(method("Unary", MethodType.UNARY), handler)
            .addMethod(method("Download", MethodType.SERVER_STREAMING), handler)
            .addMethod(method("Upload", MethodType.CLIENT_STREAMING), handler)
            .addMethod(method("Chat", MethodType.BIDI_STREAMING), handler)
            .build());
    int streams = Integer.parseInt(flags.get("--streams"));
    if (streams > 0) builder.maxConcurrentCallsPerConnection(streams);
    if (flags.get("--pings").equals("true")) {
      builder.permitKeepAliveTime(1, TimeUnit.MILLISECONDS).permitKeepAliveWithoutCalls(true);
    }
    io.grpc.Server server = builder.build().start();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      server.shutdown();
      try {
        server.awaitTermination();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }));
    server.awaitTermination();
    timer.shutdown();
  }
}
