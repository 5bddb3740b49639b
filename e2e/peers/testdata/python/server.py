"""The test service of this package in Python. doc.go says what it does."""

import argparse
import os
import signal
import threading
import time
from concurrent import futures

import grpc

parser = argparse.ArgumentParser()
for name in ("port", "log", "max-message", "streams", "pings"):
    parser.add_argument("--" + name)
flags = parser.parse_args()
log_file = os.open(flags.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
codes = {code.value[0]: code for code in grpc.StatusCode}


class Call:
    """What the metadata of a call asks for."""

    def __init__(self, context):
        self.context = context
        self.metadata = context.invocation_metadata()
        self.write("start")
        self.echo = [field for field in self.metadata if field[0].startswith("x-echo-")]
        self.ended = False
        context.add_callback(self.gone)
        context.send_initial_metadata(self.echo)

    def gone(self):
        if not self.ended:
            self.write("cancelled")

    def write(self, what):
        os.write(log_file, f"{what} {self.get('x-id', '')}\n".encode())

    def get(self, name, otherwise=None):
        for field in self.metadata:
            if field[0] == name:
                return field[1]
        return otherwise

    def end(self, messages):
        """Waits as long as the call says, and sets its status."""
        until = time.monotonic() + int(self.get("x-wait-ms", 0)) / 1000
        while time.monotonic() < until and self.context.is_active():
            time.sleep(0.005)
        if not self.context.is_active():
            return
        trailer = [*self.echo, ("x-messages", str(messages))]
        code = int(self.get("x-code", 0))
        if code:
            self.context.set_code(codes[code])
            self.context.set_details(self.get("x-message-bin", b"").decode())
            if self.get("x-details-bin"):
                trailer.append(("grpc-status-details-bin", self.get("x-details-bin")))
        self.context.set_trailing_metadata(trailer)
        self.ended = True
        self.write("end")


def unary(request, context):
    Call(context).end(1)
    return request


def download(request, context):
    call = Call(context)
    for _ in range(int(call.get("x-times", 0))):
        yield request
    call.end(1)


def upload(requests, context):
    call, message, messages = Call(context), b"", 0
    for message in requests:
        messages += 1
    call.end(messages)
    return message


def chat(requests, context):
    call, messages = Call(context), 0
    for message in requests:
        messages += 1
        yield message
    call.end(messages)


# Without serializers the messages are bytes.
handlers = grpc.method_handlers_generic_handler("peers.Peer", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Download": grpc.unary_stream_rpc_method_handler(download),
    "Upload": grpc.stream_unary_rpc_method_handler(upload),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
})
options = [("grpc.max_receive_message_length", int(flags.max_message)), ("grpc.max_send_message_length", -1)]
if int(flags.streams) > 0:
    options.append(("grpc.max_concurrent_streams", int(flags.streams)))
if flags.pings == "true":
    options += [("grpc.http2.min_ping_interval_without_data_ms", 1), ("grpc.keepalive_permit_without_calls", 1)]
server = grpc.server(futures.ThreadPoolExecutor(max_workers=200), options=options)
server.add_generic_rpc_handlers((handlers,))
if server.add_insecure_port("127.0.0.1:" + flags.port) == 0:
    raise SystemExit("the port is not free")
server.start()
stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
stopping.wait()
server.stop(60).wait()
