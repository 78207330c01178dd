"""A collector of traces: takes OTLP over HTTP, as protobuf, and appends each span as a line of JSON to the file that is named."""

import http.server
import json
import sys

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse


def plain(value):
    if value.WhichOneof("value") == "array_value":
        return [plain(each) for each in value.array_value.values]
    return getattr(value, value.WhichOneof("value"))


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        asked = ExportTraceServiceRequest.FromString(body)
        with open(sys.argv[1], "a", encoding="utf-8") as out:
            for group in asked.resource_spans:
                service = {each.key: plain(each.value) for each in group.resource.attributes}["service.name"]
                for span in (span for scope in group.scope_spans for span in scope.spans):
                    line = {
                        "path": self.path,
                        "service": service,
                        "name": span.name,
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "from": span.start_time_unix_nano,
                        "to": span.end_time_unix_nano,
                        "error": span.status.message if span.status.code == 2 else None,
                        "attributes": {each.key: plain(each.value) for each in span.attributes},
                    }
                    print(json.dumps(line), file=out)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.write(str(server.server_port))
server.serve_forever()
