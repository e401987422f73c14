# Made by proto/generate.py from proto/io/prometheus/client/metrics.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()


from google.protobuf import timestamp_pb2 as google_dot_protobuf_dot_timestamp__pb2


DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n,vmsdk/_pb/io/prometheus/client/metrics.proto\x12\x1avmsdk.io.prometheus.client\x1a\x1fgoogle/protobuf/timestamp.proto\"5\n\tLabelPair\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x14\n\x05value\x18\x02 \x01(\tR\x05value\"\x1d\n\x05Gauge\x12\x14\n\x05value\x18\x01 \x01(\x01R\x05value\"\xaa\x01\n\x07\x43ounter\x12\x14\n\x05value\x18\x01 \x01(\x01R\x05value\x12@\n\x08\x65xemplar\x18\x02 \x01(\x0b\x32$.vmsdk.io.prometheus.client.ExemplarR\x08\x65xemplar\x12G\n\x11\x63reated_timestamp\x18\x03 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x10\x63reatedTimestamp\"<\n\x08Quantile\x12\x1a\n\x08quantile\x18\x01 \x01(\x01R\x08quantile\x12\x14\n\x05value\x18\x02 \x01(\x01R\x05value\"\xd6\x01\n\x07Summary\x12!\n\x0csample_count\x18\x01 \x01(\x04R\x0bsampleCount\x12\x1d\n\nsample_sum\x18\x02 \x01(\x01R\tsampleSum\x12@\n\x08quantile\x18\x03 \x03(\x0b\x32$.vmsdk.io.prometheus.client.QuantileR\x08quantile\x12G\n\x11\x63reated_timestamp\x18\x04 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x10\x63reatedTimestamp\"\x1f\n\x07Untyped\x12\x14\n\x05value\x18\x01 \x01(\x01R\x05value\"\x82\x06\n\tHistogram\x12!\n\x0csample_count\x18\x01 \x01(\x04R\x0bsampleCount\x12\x1d\n\nsample_sum\x18\x02 \x01(\x01R\tsampleSum\x12:\n\x06\x62ucket\x18\x03 \x03(\x0b\x32\".vmsdk.io.prometheus.client.BucketR\x06\x62ucket\x12,\n\x12sample_count_float\x18\x04 \x01(\x01R\x10sampleCountFloat\x12\x16\n\x06schema\x18\x05 \x01(\x11R\x06schema\x12%\n\x0ezero_threshold\x18\x06 \x01(\x01R\rzeroThreshold\x12\x1d\n\nzero_count\x18\x07 \x01(\x04R\tzeroCount\x12(\n\x10zero_count_float\x18\x08 \x01(\x01R\x0ezeroCountFloat\x12K\n\rnegative_span\x18\t \x03(\x0b\x32&.vmsdk.io.prometheus.client.BucketSpanR\x0cnegativeSpan\x12%\n\x0enegative_delta\x18\n \x03(\x12R\rnegativeDelta\x12%\n\x0enegative_count\x18\x0b \x03(\x01R\rnegativeCount\x12K\n\rpositive_span\x18\x0c \x03(\x0b\x32&.vmsdk.io.prometheus.client.BucketSpanR\x0cpositiveSpan\x12%\n\x0epositive_delta\x18\r \x03(\x12R\rpositiveDelta\x12%\n\x0epositive_count\x18\x0e \x03(\x01R\rpositiveCount\x12G\n\x11\x63reated_timestamp\x18\x0f \x01(\x0b\x32\x1a.google.protobuf.TimestampR\x10\x63reatedTimestamp\x12\x42\n\texemplars\x18\x10 \x03(\x0b\x32$.vmsdk.io.prometheus.client.ExemplarR\texemplars\"\xcc\x01\n\x06\x42ucket\x12)\n\x10\x63umulative_count\x18\x01 \x01(\x04R\x0f\x63umulativeCount\x12\x1f\n\x0bupper_bound\x18\x02 \x01(\x01R\nupperBound\x12@\n\x08\x65xemplar\x18\x03 \x01(\x0b\x32$.vmsdk.io.prometheus.client.ExemplarR\x08\x65xemplar\x12\x34\n\x16\x63umulative_count_float\x18\x04 \x01(\x01R\x14\x63umulativeCountFloat\"<\n\nBucketSpan\x12\x16\n\x06offset\x18\x01 \x01(\x11R\x06offset\x12\x16\n\x06length\x18\x02 \x01(\rR\x06length\"\x97\x01\n\x08\x45xemplar\x12;\n\x05label\x18\x01 \x03(\x0b\x32%.vmsdk.io.prometheus.client.LabelPairR\x05label\x12\x14\n\x05value\x18\x02 \x01(\x01R\x05value\x12\x38\n\ttimestamp\x18\x03 \x01(\x0b\x32\x1a.google.protobuf.TimestampR\ttimestamp\"\xa3\x03\n\x06Metric\x12;\n\x05label\x18\x01 \x03(\x0b\x32%.vmsdk.io.prometheus.client.LabelPairR\x05label\x12\x37\n\x05gauge\x18\x02 \x01(\x0b\x32!.vmsdk.io.prometheus.client.GaugeR\x05gauge\x12=\n\x07\x63ounter\x18\x03 \x01(\x0b\x32#.vmsdk.io.prometheus.client.CounterR\x07\x63ounter\x12=\n\x07summary\x18\x04 \x01(\x0b\x32#.vmsdk.io.prometheus.client.SummaryR\x07summary\x12=\n\x07untyped\x18\x05 \x01(\x0b\x32#.vmsdk.io.prometheus.client.UntypedR\x07untyped\x12!\n\x0ctimestamp_ms\x18\x06 \x01(\x03R\x0btimestampMs\x12\x43\n\thistogram\x18\x07 \x01(\x0b\x32%.vmsdk.io.prometheus.client.HistogramR\thistogram\"\xc2\x01\n\x0cMetricFamily\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x12\n\x04help\x18\x02 \x01(\tR\x04help\x12:\n\x04type\x18\x03 \x01(\x0e\x32&.vmsdk.io.prometheus.client.MetricTypeR\x04type\x12:\n\x06metric\x18\x04 \x03(\x0b\x32\".vmsdk.io.prometheus.client.MetricR\x06metric\x12\x12\n\x04unit\x18\x05 \x01(\tR\x04unit*b\n\nMetricType\x12\x0b\n\x07\x43OUNTER\x10\x00\x12\t\n\x05GAUGE\x10\x01\x12\x0b\n\x07SUMMARY\x10\x02\x12\x0b\n\x07UNTYPED\x10\x03\x12\r\n\tHISTOGRAM\x10\x04\x12\x13\n\x0fGAUGE_HISTOGRAM\x10\x05')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.io.prometheus.client.metrics_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_METRICTYPE']._serialized_start=2495
  _globals['_METRICTYPE']._serialized_end=2593
  _globals['_LABELPAIR']._serialized_start=109
  _globals['_LABELPAIR']._serialized_end=162
  _globals['_GAUGE']._serialized_start=164
  _globals['_GAUGE']._serialized_end=193
  _globals['_COUNTER']._serialized_start=196
  _globals['_COUNTER']._serialized_end=366
  _globals['_QUANTILE']._serialized_start=368
  _globals['_QUANTILE']._serialized_end=428
  _globals['_SUMMARY']._serialized_start=431
  _globals['_SUMMARY']._serialized_end=645
  _globals['_UNTYPED']._serialized_start=647
  _globals['_UNTYPED']._serialized_end=678
  _globals['_HISTOGRAM']._serialized_start=681
  _globals['_HISTOGRAM']._serialized_end=1451
  _globals['_BUCKET']._serialized_start=1454
  _globals['_BUCKET']._serialized_end=1658
  _globals['_BUCKETSPAN']._serialized_start=1660
  _globals['_BUCKETSPAN']._serialized_end=1720
  _globals['_EXEMPLAR']._serialized_start=1723
  _globals['_EXEMPLAR']._serialized_end=1874
  _globals['_METRIC']._serialized_start=1877
  _globals['_METRIC']._serialized_end=2296
  _globals['_METRICFAMILY']._serialized_start=2299
  _globals['_METRICFAMILY']._serialized_end=2493
# @@protoc_insertion_point(module_scope)
