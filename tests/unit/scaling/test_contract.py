"""The generated gRPC code has the names, numbers and types of KEDA's .proto file."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor as F

from insula.externalscaler.externalscaler_pb2 import DESCRIPTOR

MESSAGES = {
    "ScaledObjectRef": {"name": (1, F.TYPE_STRING), "namespace": (2, F.TYPE_STRING), "scalerMetadata": (3, "map")},
    "IsActiveResponse": {"result": (1, F.TYPE_BOOL)},
    "GetMetricSpecResponse": {"metricSpecs": (1, "MetricSpec")},
    "MetricSpec": {
        "metricName": (1, F.TYPE_STRING),
        "targetSize": (2, F.TYPE_INT64),
        "targetSizeFloat": (3, F.TYPE_DOUBLE),
    },
    "GetMetricsRequest": {"scaledObjectRef": (1, "ScaledObjectRef"), "metricName": (2, F.TYPE_STRING)},
    "GetMetricsResponse": {"metricValues": (1, "MetricValue")},
    "MetricValue": {
        "metricName": (1, F.TYPE_STRING),
        "metricValue": (2, F.TYPE_INT64),
        "metricValueFloat": (3, F.TYPE_DOUBLE),
    },
}
METHODS = {
    "IsActive": ("ScaledObjectRef", "IsActiveResponse", False),
    "StreamIsActive": ("ScaledObjectRef", "IsActiveResponse", True),
    "GetMetricSpec": ("ScaledObjectRef", "GetMetricSpecResponse", False),
    "GetMetrics": ("GetMetricsRequest", "GetMetricsResponse", False),
}


def kind(field: F) -> object:
    if field.message_type is None:
        return field.type
    return "map" if field.message_type.GetOptions().map_entry else field.message_type.name


def test_messages_and_methods_are_those_of_keda() -> None:
    """A method that KEDA has in addition is optional: KEDA treats UNIMPLEMENTED as its absence."""
    found = {
        message.name: {field.name: (field.number, kind(field)) for field in message.fields}
        for message in DESCRIPTOR.message_types_by_name.values()
    }
    assert found == MESSAGES
    service = DESCRIPTOR.services_by_name["ExternalScaler"]
    assert service.full_name == "externalscaler.ExternalScaler"
    assert {
        method.name: (method.input_type.name, method.output_type.name, method.server_streaming)
        for method in service.methods
    } == METHODS
