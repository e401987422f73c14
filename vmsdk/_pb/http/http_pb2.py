# Made by proto/generate.py from proto/http/http.proto: edit that instead.
"""Generated protocol buffer code."""
from google.protobuf import descriptor as _descriptor
from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf import symbol_database as _symbol_database
from google.protobuf.internal import builder as _builder
# @@protoc_insertion_point(imports)

_sym_db = _symbol_database.Default()




DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'\n\x19vmsdk/_pb/http/http.proto\x12\nvmsdk.http\"\xfc\x01\n\x03URL\x12\x16\n\x06scheme\x18\x01 \x01(\tR\x06scheme\x12\x16\n\x06opaque\x18\x02 \x01(\tR\x06opaque\x12(\n\x04user\x18\x03 \x01(\x0b\x32\x14.vmsdk.http.UserinfoR\x04user\x12\x12\n\x04host\x18\x04 \x01(\tR\x04host\x12\x12\n\x04path\x18\x05 \x01(\tR\x04path\x12\x19\n\x08raw_path\x18\x06 \x01(\tR\x07rawPath\x12\x1f\n\x0b\x66orce_query\x18\x07 \x01(\x08R\nforceQuery\x12\x1b\n\traw_query\x18\x08 \x01(\tR\x08rawQuery\x12\x1a\n\x08\x66ragment\x18\t \x01(\tR\x08\x66ragment\"e\n\x08Userinfo\x12\x1a\n\x08username\x18\x01 \x01(\tR\x08username\x12\x1a\n\x08password\x18\x02 \x01(\tR\x08password\x12!\n\x0cpassword_set\x18\x03 \x01(\x08R\x0bpasswordSet\"3\n\x07\x45lement\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12\x16\n\x06values\x18\x02 \x03(\tR\x06values\"\"\n\x0c\x43\x65rtificates\x12\x12\n\x04\x63\x65rt\x18\x01 \x03(\x0cR\x04\x63\x65rt\"\xe1\x03\n\x0f\x43onnectionState\x12\x18\n\x07version\x18\x01 \x01(\rR\x07version\x12-\n\x12handshake_complete\x18\x02 \x01(\x08R\x11handshakeComplete\x12\x1d\n\ndid_resume\x18\x03 \x01(\x08R\tdidResume\x12!\n\x0c\x63ipher_suite\x18\x04 \x01(\rR\x0b\x63ipherSuite\x12/\n\x13negotiated_protocol\x18\x05 \x01(\tR\x12negotiatedProtocol\x12\x1f\n\x0bserver_name\x18\x06 \x01(\tR\nserverName\x12\x45\n\x11peer_certificates\x18\x07 \x01(\x0b\x32\x18.vmsdk.http.CertificatesR\x10peerCertificates\x12\x41\n\x0fverified_chains\x18\x08 \x03(\x0b\x32\x18.vmsdk.http.CertificatesR\x0everifiedChains\x12\x42\n\x1dsigned_certificate_timestamps\x18\t \x03(\x0cR\x1bsignedCertificateTimestamps\x12#\n\rocsp_response\x18\n \x01(\x0cR\x0cocspResponse\"\xb4\x04\n\x07Request\x12\x16\n\x06method\x18\x01 \x01(\tR\x06method\x12!\n\x03url\x18\x02 \x01(\x0b\x32\x0f.vmsdk.http.URLR\x03url\x12\x14\n\x05proto\x18\x03 \x01(\tR\x05proto\x12\x1f\n\x0bproto_major\x18\x04 \x01(\x05R\nprotoMajor\x12\x1f\n\x0bproto_minor\x18\x05 \x01(\x05R\nprotoMinor\x12+\n\x06header\x18\x06 \x03(\x0b\x32\x13.vmsdk.http.ElementR\x06header\x12\x12\n\x04\x62ody\x18\x07 \x01(\x0cR\x04\x62ody\x12%\n\x0e\x63ontent_length\x18\x08 \x01(\x03R\rcontentLength\x12+\n\x11transfer_encoding\x18\t \x03(\tR\x10transferEncoding\x12\x12\n\x04host\x18\n \x01(\tR\x04host\x12\'\n\x04\x66orm\x18\x0b \x03(\x0b\x32\x13.vmsdk.http.ElementR\x04\x66orm\x12\x30\n\tpost_form\x18\x0c \x03(\x0b\x32\x13.vmsdk.http.ElementR\x08postForm\x12!\n\x0ctrailer_keys\x18\r \x03(\tR\x0btrailerKeys\x12\x1f\n\x0bremote_addr\x18\x0e \x01(\tR\nremoteAddr\x12\x1f\n\x0brequest_uri\x18\x0f \x01(\tR\nrequestUri\x12-\n\x03tls\x18\x10 \x01(\x0b\x32\x1b.vmsdk.http.ConnectionStateR\x03tls\"^\n\x0eResponseWriter\x12+\n\x06header\x18\x01 \x03(\x0b\x32\x13.vmsdk.http.ElementR\x06header\x12\x1f\n\x0bserver_addr\x18\x02 \x01(\tR\nserverAddr\"\x81\x01\n\x0bHTTPRequest\x12\x43\n\x0fresponse_writer\x18\x01 \x01(\x0b\x32\x1a.vmsdk.http.ResponseWriterR\x0eresponseWriter\x12-\n\x07request\x18\x02 \x01(\x0b\x32\x13.vmsdk.http.RequestR\x07request\"\xd5\x01\n\x17HandleSimpleHTTPRequest\x12\x16\n\x06method\x18\x01 \x01(\tR\x06method\x12\x10\n\x03url\x18\x02 \x01(\tR\x03url\x12<\n\x0frequest_headers\x18\x03 \x03(\x0b\x32\x13.vmsdk.http.ElementR\x0erequestHeaders\x12\x12\n\x04\x62ody\x18\x04 \x01(\x0cR\x04\x62ody\x12>\n\x10response_headers\x18\x05 \x03(\x0b\x32\x13.vmsdk.http.ElementR\x0fresponseHeaders\"q\n\x18HandleSimpleHTTPResponse\x12\x12\n\x04\x63ode\x18\x01 \x01(\x05R\x04\x63ode\x12-\n\x07headers\x18\x02 \x03(\x0b\x32\x13.vmsdk.http.ElementR\x07headers\x12\x12\n\x04\x62ody\x18\x03 \x01(\x0cR\x04\x62ody\";\n\x0cHTTPResponse\x12+\n\x06header\x18\x01 \x03(\x0b\x32\x13.vmsdk.http.ElementR\x06header2\x9e\x01\n\x04HTTP\x12;\n\x06Handle\x12\x17.vmsdk.http.HTTPRequest\x1a\x18.vmsdk.http.HTTPResponse\x12Y\n\x0cHandleSimple\x12#.vmsdk.http.HandleSimpleHTTPRequest\x1a$.vmsdk.http.HandleSimpleHTTPResponseb\x06proto3')

_globals = globals()
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, _globals)
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'vmsdk._pb.http.http_pb2', _globals)
if not _descriptor._USE_C_DESCRIPTORS:
  DESCRIPTOR._loaded_options = None
  _globals['_URL']._serialized_start=42
  _globals['_URL']._serialized_end=294
  _globals['_USERINFO']._serialized_start=296
  _globals['_USERINFO']._serialized_end=397
  _globals['_ELEMENT']._serialized_start=399
  _globals['_ELEMENT']._serialized_end=450
  _globals['_CERTIFICATES']._serialized_start=452
  _globals['_CERTIFICATES']._serialized_end=486
  _globals['_CONNECTIONSTATE']._serialized_start=489
  _globals['_CONNECTIONSTATE']._serialized_end=970
  _globals['_REQUEST']._serialized_start=973
  _globals['_REQUEST']._serialized_end=1537
  _globals['_RESPONSEWRITER']._serialized_start=1539
  _globals['_RESPONSEWRITER']._serialized_end=1633
  _globals['_HTTPREQUEST']._serialized_start=1636
  _globals['_HTTPREQUEST']._serialized_end=1765
  _globals['_HANDLESIMPLEHTTPREQUEST']._serialized_start=1768
  _globals['_HANDLESIMPLEHTTPREQUEST']._serialized_end=1981
  _globals['_HANDLESIMPLEHTTPRESPONSE']._serialized_start=1983
  _globals['_HANDLESIMPLEHTTPRESPONSE']._serialized_end=2096
  _globals['_HTTPRESPONSE']._serialized_start=2098
  _globals['_HTTPRESPONSE']._serialized_end=2157
  _globals['_HTTP']._serialized_start=2160
  _globals['_HTTP']._serialized_end=2318
# @@protoc_insertion_point(module_scope)
