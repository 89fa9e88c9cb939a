"""The add service over grpcio: `interop.py serve PROTO` prints its address, `interop.py call PROTO ADDRESS` calls another server."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

action, proto = sys.argv[1:3]
sys.path.insert(0, os.path.dirname(proto))
messages, services = grpc.protos_and_services(os.path.basename(proto))


class Add(services.AddServicer):
    def Sum(self, request, context):
        if request.a == 0 and request.b == 0:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "can't sum two zeroes")
        return messages.SumReply(v=request.a + request.b)

    def Concat(self, request, context):
        return messages.ConcatReply(v=request.a + request.b)


def serve():
    server = grpc.server(ThreadPoolExecutor(4))
    services.add_AddServicer_to_server(Add(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


def call(address):
    add = services.AddStub(grpc.insecure_channel(address))

    def invoke(method, request, timeout=30):
        try:
            return method(request, timeout=timeout).v
        except grpc.RpcError as error:
            return f"{error.code().value[0]} {error.details()}"

    print(invoke(add.Sum, messages.SumRequest(a=1, b=2)))
    print(invoke(add.Concat, messages.ConcatRequest(a="1", b="2")))
    print(invoke(add.Sum, messages.SumRequest()))
    # The client itself ends a call after its deadline.
    print(str(invoke(add.Sum, messages.SumRequest(a=1, b=2), -1)).split()[0])


serve() if action == "serve" else call(sys.argv[3])
