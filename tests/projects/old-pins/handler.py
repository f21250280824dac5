from importlib.metadata import PackageNotFoundError, version

import numpy
import redis
from google.protobuf import struct_pb2


def version_of(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


class Handler:
    def handle_async(self, payload):
        struct = struct_pb2.Struct()
        struct.update(payload)
        if version_of("grpcio"):
            import grpc

            grpc.insecure_channel("localhost:1").close()
        return {
            "sum": int(numpy.array([1, 2, 3]).sum()),
            "parsed": dict(struct_pb2.Struct.FromString(struct.SerializeToString())),
            "redis": redis.__version__,
            "versions": {name: version_of(name) for name in ("grpcio", "numpy", "protobuf")},
        }
