package caddyfile_test

import (
	"strings"
	"testing"
)

// TestErrors compares the exact messages. They say what was expected, and where.
func TestErrors(t *testing.T) {
	tests := map[string]struct {
		caddyfile string
		want      string
	}{
		"nothing to call": {
			":8080\ngrpc_gateway",
			"grpc_gateway has nothing to call: expected a target, such as etcd://127.0.0.1:2379/user.rpc, or an upstream block, at Caddyfile:2",
		},
		"addresses that look like instances": {
			":8080\ngrpc_gateway a:9001 b:9001",
			"grpc_gateway has several addresses: instances of one service are one target, static:///a:9001,b:9001; services of their own are static:///a:9001 static:///b:9001, at Caddyfile:2",
		},
		"addresses in two places": {
			":8080\ngrpc_gateway a:9001 etcd://h:2379/x {\n\tto b:9001 c:9001\n}",
			"grpc_gateway has several addresses: instances of one service are one target, static:///a:9001,b:9001,c:9001; services of their own are static:///a:9001 static:///b:9001 static:///c:9001, at Caddyfile:3",
		},
		"unknown option": {
			":8080\ngrpc_gateway h:1 {\n\ttimeuot 5s\n}",
			`unknown option "timeuot" in grpc_gateway: expected one of annotations, answers, authority, backoff, balance, client_timeout, compat, connect_timeout, connections, cors, cross_site, descriptors, drain_timeout, eject, errors, etag, expose, fields, form_query, forms, fully_decode_reserved_expansion, health, health_check, hide, hide_fields, json, keepalive, max_receive_size, max_request_size, mcp, metadata, negotiation, networks, openapi, query, reflection, request_body, require_ready, retry, route, rpc, snapshot, stream, subset, timeout, tls, to, transport, upstream, validate, with, at Caddyfile:3`,
		},
		"status with an argument": {
			":8080\ngrpc_gateway_status now",
			"parsing caddyfile tokens for 'grpc_gateway_status': grpc_gateway_status: expected no argument besides a matcher, at Caddyfile:2",
		},
		"health checks without a word": {
			":8080\ngrpc_gateway h:1 {\n\thealth\n}",
			"health: expected on, off or a block with the option path, at Caddyfile:3",
		},
		"health checks at no path": {
			":8080\ngrpc_gateway h:1 {\n\thealth {\n\t\tpath healthz\n\t}\n}",
			`health: path "healthz": expected a path, such as /healthz, at Caddyfile:5`,
		},
		"health checks off at a path": {
			":8080\ngrpc_gateway h:1 {\n\thealth off {\n\t\tpath /healthz\n\t}\n}",
			"health: path: expected health to be on, at Caddyfile:5",
		},
		"tools without a path": {
			":8080\ngrpc_gateway h:1 {\n\tmcp\n}",
			"mcp: expected a path, such as /mcp, at Caddyfile:3",
		},
		"tools at no path": {
			":8080\ngrpc_gateway h:1 {\n\tmcp tools\n}",
			`mcp: path "tools": expected a path, such as /mcp, at Caddyfile:3`,
		},
		"tools of no pattern": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\ttools a//b\n\t}\n}",
			`tools: pattern "a//b": expected package.Service or package.Service/Method, with * for anything, at Caddyfile:4`,
		},
		"tool that is a pattern": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\ttool a.S/*\n\t}\n}",
			`mcp: tool "a.S/*": expected a method, such as package.Service/Method, at Caddyfile:5`,
		},
		"tool with a half name": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\ttool a.S/M as\n\t}\n}",
			"tool: expected <package.Service/Method> [as <name>], at Caddyfile:4",
		},
		"tool with a name that agents refuse": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\ttool a.S/M as 1st\n\t}\n}",
			`mcp: tool a.S/M as "1st": expected a letter, then letters, digits, _ and -, at most 64 characters, at Caddyfile:5`,
		},
		"tool with a name of the search": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\ttool a.S/M as call_method\n\t}\n}",
			`mcp: tool a.S/M as "call_method": expected another name, because the search has this one, at Caddyfile:5`,
		},
		"two tools of one name": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\ttool a.S/M as m\n\t\ttool a.S/N as m\n\t}\n}",
			`mcp: tool a.S/N as "m": another tool has this name, at Caddyfile:6`,
		},
		"one tool twice": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\ttool a.S/M as m\n\t\ttool a.S/M as n\n\t}\n}",
			"mcp: tool a.S/M comes twice, at Caddyfile:6",
		},
		"collected streams without a limit": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\tstream 100 64KiB\n\t}\n}",
			"stream: expected <messages> <size> <duration>, such as 100 64KiB 10s, at Caddyfile:4",
		},
		"collected streams without a message": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\tstream 0 64KiB 10s\n\t}\n}",
			`stream "0": expected a number above 0, at Caddyfile:4`,
		},
		"collected streams without a byte": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\tstream 1 0 10s\n\t}\n}",
			`stream "0": expected a size above 0 and below 2GiB, such as 64KiB, at Caddyfile:4`,
		},
		"collected streams without time": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\tstream 1 1KiB 0s\n\t}\n}",
			`stream "0s": expected a duration above 0, such as 5s, at Caddyfile:4`,
		},
		"tokens from nowhere": {
			":8080\ngrpc_gateway h:1 {\n\tmcp /mcp {\n\t\tauthorization_server idp.example.com\n\t}\n}",
			`mcp: authorization_server "idp.example.com": expected a URL, such as https://idp.example.com, at Caddyfile:5`,
		},
		"document that is not JSON": {
			":8080\ngrpc_gateway h:1 {\n\topenapi {\n\t\tpath /spec.yaml\n\t}\n}",
			`openapi: path "/spec.yaml": expected a path that ends in .json, at Caddyfile:5`,
		},
		"page in the place of the descriptors": {
			":8080\ngrpc_gateway h:1 {\n\topenapi {\n\t\tdocs /x\n\t\tdescriptors /x\n\t}\n}",
			"openapi: path, docs and descriptors: expected different paths, at Caddyfile:6",
		},
		"comments without a file": {
			":8080\ngrpc_gateway h:1 {\n\topenapi {\n\t\tcomments protoset\n\t}\n}",
			"comments protoset: expected at least one file, at Caddyfile:4",
		},
		"comments from a service": {
			":8080\ngrpc_gateway h:1 {\n\topenapi {\n\t\tcomments reflection x\n\t}\n}",
			`comments "reflection": expected protoset, at Caddyfile:4`,
		},
		"option of a later version": {
			":8080\ngrpc_gateway h:1 {\n\ta2a /a2a\n}",
			`unknown option "a2a" in grpc_gateway: expected one of annotations, answers, authority, backoff, balance, client_timeout, compat, connect_timeout, connections, cors, cross_site, descriptors, drain_timeout, eject, errors, etag, expose, fields, form_query, forms, fully_decode_reserved_expansion, health, health_check, hide, hide_fields, json, keepalive, max_receive_size, max_request_size, mcp, metadata, negotiation, networks, openapi, query, reflection, request_body, require_ready, retry, route, rpc, snapshot, stream, subset, timeout, tls, to, transport, upstream, validate, with, at Caddyfile:3`,
		},
		"validate without a mode": {
			":8080\ngrpc_gateway h:1 {\n\tvalidate\n}",
			"validate: expected on or warn or off, at Caddyfile:3",
		},
		"validate in a mode that does not exist": {
			":8080\ngrpc_gateway h:1 {\n\tvalidate strict\n}",
			`validate "strict": expected on or warn or off, at Caddyfile:3`,
		},
		"validate twice": {
			":8080\ngrpc_gateway h:1 {\n\tvalidate on\n\tvalidate warn\n}",
			`option "validate" comes twice in grpc_gateway: the first is in line 3, at Caddyfile:4`,
		},
		"validate off with checks": {
			":8080\ngrpc_gateway h:1 {\n\tvalidate off {\n\t\tcheck protovalidate\n\t}\n}",
			"validate off takes no block, at Caddyfile:4",
		},
		"check without a kind": {
			":8080\ngrpc_gateway h:1 {\n\tvalidate on {\n\t\tcheck\n\t}\n}",
			"check: expected a kind of check, such as protovalidate, at Caddyfile:4",
		},
		"check that does not exist": {
			":8080\ngrpc_gateway h:1 {\n\tvalidate on {\n\t\tcheck spelling\n\t}\n}",
			"check spelling: there is no such check: expected one of protovalidate, at Caddyfile:4",
		},
		"check with an argument": {
			":8080\ngrpc_gateway h:1 {\n\tvalidate on {\n\t\tcheck protovalidate fast\n\t}\n}",
			`check protovalidate: expected no argument, found "fast", at Caddyfile:4`,
		},
		"policy without a pattern": {
			":8080\ngrpc_gateway h:1 {\n\twith {\n\t\theader X-A b\n\t}\n}",
			"with: expected at least one pattern for package.Service or package.Service/Method: with <pattern>... { <HTTP directives> }, at Caddyfile:3",
		},
		"policy without a block": {
			":8080\ngrpc_gateway h:1 {\n\twith a.v1.*\n}",
			"with: expected a block: with <pattern>... { <HTTP directives> }, at Caddyfile:3",
		},
		"policy for a path": {
			":8080\ngrpc_gateway h:1 {\n\twith /v1/users {\n\t}\n}",
			`with: pattern "/v1/users": expected package.Service or package.Service/Method, with * for anything, at Caddyfile:3`,
		},
		"policy with an unknown directive": {
			":8080\ngrpc_gateway h:1 {\n\twith * {\n\t\tauthenticate\n\t}\n}",
			"with: unrecognized directive: authenticate - are you sure your Caddyfile structure (nesting and braces) is correct?, at Caddyfile:5, at Caddyfile:3",
		},
		"policy with a directive of the site": {
			":8080\ngrpc_gateway h:1 {\n\twith * {\n\t\thandle_errors {\n\t\t}\n\t}\n}",
			"with: directive 'handle_errors' is not an ordered HTTP handler, so it cannot be used here - try placing within a route block or using the order global option, at Caddyfile:3",
		},
		"matcher of methods without a pattern": {
			":8080\n@m grpc_method\nrespond @m 403",
			"grpc_method: expected at least one pattern for package.Service or package.Service/Method, at Caddyfile:2",
		},
		"matcher of methods with a path": {
			":8080\n@m grpc_method /v1/users\nrespond @m 403",
			`grpc_method: pattern "/v1/users": expected package.Service or package.Service/Method, with * for anything, at Caddyfile:2`,
		},
		"grpc_error with an argument": {
			":8080\ngrpc_error status",
			`parsing caddyfile tokens for 'grpc_error': grpc_error: expected no argument besides a matcher, at Caddyfile:2`,
		},
		"grpc_error with a block": {
			":8080\ngrpc_error {\n\tmap 502 14\n}",
			`parsing caddyfile tokens for 'grpc_error': grpc_error takes no block, at Caddyfile:3`,
		},
		"repeated option": {
			":8080\ngrpc_gateway h:1 {\n\ttimeout 5s\n\ttimeout 6s\n}",
			`option "timeout" comes twice in grpc_gateway: the first is in line 3, at Caddyfile:4`,
		},
		"origin without a scheme": {
			":8080\ngrpc_gateway h:1 {\n\tcors app.example.com\n}",
			`cors: origin "app.example.com": expected *, or scheme and host, such as https://app.example.com or https://*.example.com, at Caddyfile:3`,
		},
		"parameter for fields that cannot be one": {
			":8080\ngrpc_gateway h:1 {\n\tfields a&b\n}",
			`fields: parameter "a&b": expected letters, digits and - _ . $, at Caddyfile:3`,
		},
		"parameter for fields with another meaning": {
			":8080\ngrpc_gateway h:1 {\n\tfields {\n\t\tparameter $alt\n\t}\n}",
			`fields: parameter "$alt": it has another meaning, at Caddyfile:4`,
		},
		"block of what is off": {
			":8080\ngrpc_gateway h:1 {\n\tfields off {\n\t\theader on\n\t}\n}",
			"fields off takes no block, at Caddyfile:4",
		},
		"hidden field without a message": {
			":8080\ngrpc_gateway h:1 {\n\thide_fields ssn\n}",
			`hide_fields: field "ssn": expected the full name of a field, such as package.Message.field, at Caddyfile:3`,
		},
		"hidden pattern": {
			":8080\ngrpc_gateway h:1 {\n\thide_fields user.v1.User.*\n}",
			`hide_fields: field "user.v1.User.*": expected the full name of a field, such as package.Message.field, at Caddyfile:3`,
		},
		"hidden field of a well-known type": {
			":8080\ngrpc_gateway h:1 {\n\thide_fields google.protobuf.Any.value\n}",
			`hide_fields: field "google.protobuf.Any.value": fields of google.protobuf.Any cannot be hidden; hide the fields that hold such messages, at Caddyfile:3`,
		},
		"no hidden field": {
			":8080\ngrpc_gateway h:1 {\n\thide_fields\n}",
			"hide_fields: expected at least one field, such as package.Message.field, at Caddyfile:3",
		},
		"no duration": {
			":8080\ngrpc_gateway h:1 {\n\ttimeout soon\n}",
			`timeout "soon": expected a duration above 0, such as 5s, or off, at Caddyfile:3`,
		},
		"negative duration": {
			":8080\ngrpc_gateway h:1 {\n\ttimeout -5s\n}",
			`timeout "-5s": expected a duration above 0, such as 5s, or off, at Caddyfile:3`,
		},
		"missing argument": {
			":8080\ngrpc_gateway h:1 {\n\ttimeout\n}",
			"timeout: expected a duration, such as 5s, or off, at Caddyfile:3",
		},
		"too many arguments": {
			":8080\ngrpc_gateway h:1 {\n\trpc on off\n}",
			"rpc: expected on or off, at Caddyfile:3",
		},
		"no such choice": {
			":8080\ngrpc_gateway h:1 {\n\tquery loose\n}",
			`query "loose": expected reject_unknown or ignore_unknown or lenient, at Caddyfile:3`,
		},
		"compat with another gateway": {
			":8080\ngrpc_gateway h:1 {\n\tcompat envoy\n}",
			`compat "envoy": expected grpc-gateway or go-zero, at Caddyfile:3`,
		},
		"neither on nor off": {
			":8080\ngrpc_gateway h:1 {\n\tjson {\n\t\tdiscard_trailing no\n\t}\n}",
			`discard_trailing "no": expected on, off or no argument, at Caddyfile:4`,
		},
		"on and more": {
			":8080\ngrpc_gateway h:1 {\n\tjson {\n\t\tdiscard_unknown on off\n\t}\n}",
			`discard_unknown: expected on, off or no argument, at Caddyfile:4`,
		},
		"one of several names is reserved": {
			":8080\ngrpc_gateway h:1 {\n\tmetadata {\n\t\trequest x y-* z\n\t}\n}",
			`request: metadata rule "x": the new name "y-*" has a * and the glob has none, at Caddyfile:4`,
		},
		"no such case of enums": {
			":8080\ngrpc_gateway h:1 {\n\tjson {\n\t\tenum_case upper\n\t}\n}",
			`enum_case "upper": expected exact or any or lower, at Caddyfile:4`,
		},
		"no such prefix of enums": {
			":8080\ngrpc_gateway h:1 {\n\tjson {\n\t\tenum_prefix strip\n\t}\n}",
			`enum_prefix "strip": expected keep or omit, at Caddyfile:4`,
		},
		"too deep": {
			":8080\ngrpc_gateway h:1 {\n\tjson {\n\t\tmax_depth 10001\n\t}\n}",
			`max_depth "10001": expected a number from 1 to 10000, at Caddyfile:4`,
		},
		"no depth": {
			":8080\ngrpc_gateway h:1 {\n\tjson {\n\t\tmax_answer_depth off\n\t}\n}",
			`max_answer_depth "off": expected a number from 1 to 10000, at Caddyfile:4`,
		},
		"no such way of errors": {
			":8080\ngrpc_gateway h:1 {\n\terrors json\n}",
			`errors "json": expected status or problem or text or pass, at Caddyfile:3`,
		},
		"stream without a block": {
			":8080\ngrpc_gateway h:1 {\n\tstream off\n}",
			"stream: expected a block, at Caddyfile:3",
		},
		"unknown option of stream": {
			":8080\ngrpc_gateway h:1 {\n\tstream {\n\t\tping 5s\n\t}\n}",
			`unknown option "ping" in stream: expected one of close_delay, end_event, event_id, heartbeat, heartbeat_lines, lines, websocket, websocket_origins, websocket_unary, at Caddyfile:4`,
		},
		"negative heartbeat": {
			":8080\ngrpc_gateway h:1 {\n\tstream {\n\t\theartbeat -1s\n\t}\n}",
			`heartbeat "-1s": expected a duration above 0, such as 5s, or off, at Caddyfile:4`,
		},
		"no such source of event ids": {
			":8080\ngrpc_gateway h:1 {\n\tstream {\n\t\tevent_id cursor\n\t}\n}",
			`event_id "cursor": expected count, off or field <path>, at Caddyfile:4`,
		},
		"event ids from no field": {
			":8080\ngrpc_gateway h:1 {\n\tstream {\n\t\tevent_id field\n\t}\n}",
			`event_id "field": expected count, off or field <path>, at Caddyfile:4`,
		},
		"event ids from what cannot be a field": {
			":8080\ngrpc_gateway h:1 {\n\tstream {\n\t\tevent_id field meta..revision\n\t}\n}",
			`event_id field "meta..revision": expected the path of a field, such as cursor or meta.revision, at Caddyfile:4`,
		},
		"an origin with a scheme": {
			":8080\ngrpc_gateway h:1 {\n\tstream {\n\t\twebsocket_origins https://app.example.com\n\t}\n}",
			`websocket_origins "https://app.example.com": expected a host without a scheme, such as app.example.com, *.example.com or localhost:3000, at Caddyfile:4`,
		},
		"a bad pattern of origins": {
			":8080\ngrpc_gateway h:1 {\n\tstream {\n\t\twebsocket_origins [a-\n\t}\n}",
			`websocket_origins "[a-": expected a host without a scheme, such as app.example.com, *.example.com or localhost:3000, at Caddyfile:4`,
		},
		"no size": {
			":8080\ngrpc_gateway h:1 {\n\tmax_request_size huge\n}",
			`max_request_size "huge": expected a size above 0 and below 2GiB, such as 4MiB, at Caddyfile:3`,
		},
		"unknown target": {
			":8080\ngrpc_gateway user",
			`target "user": expected a URL such as etcd://127.0.0.1:2379/user.rpc, a host:port, a Unix socket such as unix//run/user.sock, or the name of an upstream that the global option grpc_gateway defines, at Caddyfile:2`,
		},
		"unknown scheme": {
			":8080\ngrpc_gateway consul://127.0.0.1:8500/user",
			`target consul://127.0.0.1:8500/user: there is no source "consul": expected one of dns, etcd, static, at Caddyfile:2`,
		},
		"target without a key": {
			":8080\ngrpc_gateway etcd://127.0.0.1:2379",
			"target etcd://127.0.0.1:2379: expected a key after the hosts, as in etcd://127.0.0.1:2379/user.rpc, at Caddyfile:2",
		},
		"bad address": {
			":8080\ngrpc_gateway 127.0.0.1:port",
			`target "127.0.0.1:port" is neither a URL (scheme://host:port/name) nor an address: expected a port from 1 to 65535 in "127.0.0.1:port", at Caddyfile:2`,
		},
		"socket by a relative path": {
			":8080\ngrpc_gateway unix/run/user.sock",
			`target "unix/run/user.sock": expected an absolute path or @ and a name, as in unix//run/user.sock or unix/@user, in "unix/run/user.sock", at Caddyfile:2`,
		},
		"socket with a path that is too long": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover static unix//" + strings.Repeat("x", 107) + "\n\t}\n}",
			`discover static: expected a path of at most 107 bytes, which is the limit of this system, found 108 in "unix//` + strings.Repeat("x", 58) + `"…, at Caddyfile:4`,
		},
		"sockets that look like instances": {
			":8080\ngrpc_gateway unix//run/a unix//run/b",
			"grpc_gateway has several addresses: instances of one service are one target, static:///unix//run/a,unix//run/b; services of their own are static:///unix//run/a static:///unix//run/b, at Caddyfile:2",
		},
		"option beside two targets": {
			":8080\ngrpc_gateway etcd://h:1/a etcd://h:1/b {\n\ttimeout 5s\n\tdescriptors protoset a.binpb\n\ttls\n}",
			`option "descriptors" is for a single target, and grpc_gateway has 2: give each an upstream block with discover, at Caddyfile:4`,
		},
		"option before a second target": {
			":8080\ngrpc_gateway h:1 {\n\ttls\n\tto etcd://h:1/b\n}",
			`option "tls" is for a single target, and grpc_gateway has 2: give each an upstream block with discover, at Caddyfile:3`,
		},
		"option beside a block": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover static h:1\n\t}\n\tsnapshot off\n}",
			`option "snapshot": expected it in the block of the upstream "a", at Caddyfile:6`,
		},
		"option beside the name of an upstream": {
			"{\n\tgrpc_gateway {\n\t\tupstream a {\n\t\t\tdiscover static h:1\n\t\t}\n\t}\n}\n:8080\ngrpc_gateway a {\n\ttls\n}",
			`option "tls": the global option grpc_gateway defines the upstream "a": expected the option there, at Caddyfile:10`,
		},
		"option beside a target that contradicts another": {
			":8080\ngrpc_gateway h:1 {\n\tbackoff 1s 2s\n\tauthority a/b\n}",
			`target h:1: authority: "a/b": expected a host or host:port, such as api.internal, at Caddyfile:3`,
		},
		"source beside a target": {
			":8080\ngrpc_gateway h:1 {\n\tdiscover static h:2\n}",
			`unknown option "discover" in grpc_gateway: expected one of annotations, answers, authority, backoff, balance, client_timeout, compat, connect_timeout, connections, cors, cross_site, descriptors, drain_timeout, eject, errors, etag, expose, fields, form_query, forms, fully_decode_reserved_expansion, health, health_check, hide, hide_fields, json, keepalive, max_receive_size, max_request_size, mcp, metadata, negotiation, networks, openapi, query, reflection, request_body, require_ready, retry, route, rpc, snapshot, stream, subset, timeout, tls, to, transport, upstream, validate, with, at Caddyfile:3`,
		},
		"authority that is a URL": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover static h:1\n\t\tauthority https://api.internal\n\t}\n}",
			`upstream "a": authority: "https://api.internal": expected a host or host:port, such as api.internal, at Caddyfile:3`,
		},
		"two authorities": {
			":8080\ngrpc_gateway h:1 {\n\tauthority a b\n}",
			"authority: expected a host or host:port, at Caddyfile:3",
		},
		"target twice": {
			":8080\ngrpc_gateway h:1 {\n\tto h:1\n}",
			`upstream "h:1" comes twice in grpc_gateway, at Caddyfile:3`,
		},
		"to nothing": {
			":8080\ngrpc_gateway {\n\tto\n}",
			"to: expected at least one target, at Caddyfile:3",
		},
		"route with two words": {
			":8080\ngrpc_gateway h:1 {\n\troute GET /v1/users\n}",
			"route: expected <METHOD> <template> <package.Service/Method>, at Caddyfile:3",
		},
		"route with a bad template": {
			":8080\ngrpc_gateway h:1 {\n\troute GET /v1/{id user.v1.UserService/GetUser\n}",
			`route: path template "/v1/{id", column 8: expected ".", "=" or "}", found the end, at Caddyfile:3`,
		},
		"route with a bad method": {
			":8080\ngrpc_gateway h:1 {\n\troute get /v1 user.v1.UserService/GetUser\n}",
			`route: method "get": expected an HTTP method in upper case, or *, at Caddyfile:3`,
		},
		"route to no method": {
			":8080\ngrpc_gateway h:1 {\n\troute GET /v1 user.v1.UserService\n}",
			`route: rpc "user.v1.UserService": expected package.Service/Method, at Caddyfile:3`,
		},
		"unknown option of a route": {
			":8080\ngrpc_gateway h:1 {\n\troute GET /v1 a.B/C {\n\t\tretry 3\n\t}\n}",
			`unknown option "retry" in route: expected one of body, idempotent, response_body, status, timeout, at Caddyfile:4`,
		},
		"an empty answer with a status that has a body": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tempty_status 202\n\t}\n}",
			`answers: empty_status 202: expected 200 or 204, at Caddyfile:5`,
		},
		"an empty answer without a number": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tempty_status none\n\t}\n}",
			`empty_status "none": expected 200 or 204, at Caddyfile:4`,
		},
		"a status from a key of the protocol": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tstatus_from grpc-status\n\t}\n}",
			`answers: status_from "grpc-status": expected a key of the service; this one belongs to the protocol, at Caddyfile:5`,
		},
		"a status from a binary key": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tstatus_from x-code-bin\n\t}\n}",
			`answers: status_from "x-code-bin": expected a key for text, which does not end in -bin, at Caddyfile:5`,
		},
		"a status from what is not a key": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tstatus_from x/code\n\t}\n}",
			`answers: status_from "x/code": expected a metadata key: letters, digits, '-', '_' and '.', at Caddyfile:5`,
		},
		"an envelope of two members": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tenvelope code=0 data\n\t}\n}",
			`envelope: expected code=0 message=ok data, with any names, and streams after them for messages of streams, at Caddyfile:4`,
		},
		"an envelope whose code is not a number": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tenvelope code=ok message=ok data\n\t}\n}",
			`envelope "code=ok message=ok data": expected code=0 message=ok data, with any names, and streams after them for messages of streams, at Caddyfile:4`,
		},
		"an envelope without a text": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tenvelope code=0 message data\n\t}\n}",
			`envelope "code=0 message data": expected code=0 message=ok data, with any names, and streams after them for messages of streams, at Caddyfile:4`,
		},
		"an envelope whose data has a value": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tenvelope code=0 message=ok data=x\n\t}\n}",
			`envelope "code=0 message=ok data=x": expected code=0 message=ok data, with any names, and streams after them for messages of streams, at Caddyfile:4`,
		},
		"an envelope for something else": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tenvelope code=0 message=ok data errors\n\t}\n}",
			`envelope "code=0 message=ok data errors": expected code=0 message=ok data, with any names, and streams after them for messages of streams, at Caddyfile:4`,
		},
		"an envelope with one name twice": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tenvelope code=0 data=ok data\n\t}\n}",
			`answers: envelope: members "code", "data" and "data": expected three names, at Caddyfile:5`,
		},
		"an envelope with the name of the details": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tenvelope code=0 message=ok details\n\t}\n}",
			`answers: envelope: a member "details": expected another name, because it has the details of errors, at Caddyfile:5`,
		},
		"a code that does not exist": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tmap FAILED 412\n\t}\n}",
			`answers: map: "FAILED": expected the name of an error code, such as FAILED_PRECONDITION, at Caddyfile:5`,
		},
		"the code of a success": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tmap OK 201\n\t}\n}",
			`answers: map: "OK": expected the name of an error code, such as FAILED_PRECONDITION, at Caddyfile:5`,
		},
		"a code without a number": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tmap NOT_FOUND gone\n\t}\n}",
			`map "NOT_FOUND gone": expected <CODE> <status>, such as FAILED_PRECONDITION 412, at Caddyfile:4`,
		},
		"a code that becomes a redirect": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tmap NOT_FOUND 302\n\t}\n}",
			`answers: map: NOT_FOUND 302: expected a status from 400 to 599, at Caddyfile:5`,
		},
		"a code that becomes a success without an envelope": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tmap NOT_FOUND 200\n\t}\n}",
			`answers: map: NOT_FOUND 200: expected a status from 400 to 599; an error can be 200 only in an envelope, which has its code, at Caddyfile:5`,
		},
		"a code twice": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tmap NOT_FOUND 404\n\t\tmap NOT_FOUND 410\n\t}\n}",
			`map NOT_FOUND comes twice in answers, at Caddyfile:5`,
		},
		"internal with another word": {
			":8080\ngrpc_gateway h:1 {\n\tanswers {\n\t\tinternal on\n\t}\n}",
			`internal "on": expected show or hide, at Caddyfile:4`,
		},
		"a route whose success is a redirect": {
			":8080\ngrpc_gateway h:1 {\n\troute POST /v1 a.B/C {\n\t\tstatus 302\n\t}\n}",
			`route: status 302: expected a number from 200 to 299, and neither 205 nor 206, at Caddyfile:5`,
		},
		"a route whose status is not a number": {
			":8080\ngrpc_gateway h:1 {\n\troute POST /v1 a.B/C {\n\t\tstatus created\n\t}\n}",
			`status "created": expected a number from 200 to 299, at Caddyfile:4`,
		},
		"json with an argument": {
			":8080\ngrpc_gateway h:1 {\n\tjson emit_defaults\n}",
			"json: expected a block, at Caddyfile:3",
		},
		"unknown json option": {
			":8080\ngrpc_gateway h:1 {\n\tjson {\n\t\tpretty\n\t}\n}",
			`unknown option "pretty" in json: expected one of discard_trailing, discard_unknown, emit_defaults, emit_unpopulated, enum_case, enum_prefix, enums_as_numbers, max_answer_depth, max_depth, use_proto_names, at Caddyfile:4`,
		},
		"bad pattern": {
			":8080\ngrpc_gateway h:1 {\n\texpose /user\n}",
			`expose: pattern "/user": expected package.Service or package.Service/Method, with * for anything, at Caddyfile:3`,
		},
		"cross_site with another word": {
			":8080\ngrpc_gateway h:1 {\n\tcross_site off\n}",
			`cross_site "off": expected refuse or allow, at Caddyfile:3`,
		},
		"metadata rule without a word": {
			":8080\ngrpc_gateway h:1 {\n\tmetadata {\n\t\trequest\n\t}\n}",
			"request: expected [+|-]<name or pattern> [<as>...], at Caddyfile:4",
		},
		"upstream without a source": {
			":8080\ngrpc_gateway {\n\tupstream user {\n\t\ttimeout 5s\n\t}\n}",
			`upstream "user": it has no source of instances: "discover" is required, at Caddyfile:3`,
		},
		"upstream without a name": {
			":8080\ngrpc_gateway {\n\tupstream {\n\t\tdiscover static h:1\n\t}\n}",
			"upstream: expected a name, at Caddyfile:3",
		},
		"upstream twice": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover static h:1\n\t}\n\tupstream a {\n\t\tdiscover static h:2\n\t}\n}",
			`upstream "a" comes twice in grpc_gateway, at Caddyfile:8`,
		},
		"networks with something else": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tnetworks 10.0.0.0/8\n\t}\n}",
			"networks: expected a block with allow and deny, at Caddyfile:4",
		},
		"networks without any": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tnetworks {\n\t\t}\n\t}\n}",
			"networks: expected a block with allow and deny, at Caddyfile:4",
		},
		"networks with an option that is not known": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tnetworks {\n\t\t\tpermit 10.0.0.0/8\n\t\t}\n\t}\n}",
			`unknown option "permit" in networks: expected one of allow, deny, at Caddyfile:5`,
		},
		"networks with a range that is none": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover etcd user\n\t\tnetworks {\n\t\t\tallow 10.0.0.0/99\n\t\t}\n\t}\n}",
			`upstream "a": networks: allow: "10.0.0.0/99": expected an IP address or a network such as 10.0.0.0/8, at Caddyfile:3`,
		},
		"unknown option of an upstream": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tfoo 3\n\t}\n}",
			`unknown option "foo" in upstream: expected one of authority, backoff, balance, connect_timeout, connections, descriptors, discover, drain_timeout, eject, health_check, keepalive, max_receive_size, networks, require_ready, retry, snapshot, subset, timeout, tls, transport, at Caddyfile:4`,
		},
		"unknown source": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover consul user\n\t}\n}",
			"discover consul: there is no such source: expected one of dns, etcd, static, at Caddyfile:4",
		},
		"source with tls as in a target": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover etcd+tls user\n\t}\n}",
			"discover etcd+tls: expected the kind of the source alone; the option tls of the upstream secures its connections, at Caddyfile:4",
		},
		"records with tls as in a target": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover dns+srv+tls user\n\t}\n}",
			"discover dns+srv+tls: expected the kind of the source alone; the option tls of the upstream secures its connections, at Caddyfile:4",
		},
		"kind of a source that has none": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover static+srv h:1\n\t}\n}",
			"discover static+srv: expected static, at Caddyfile:4",
		},
		"source without arguments": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover\n\t}\n}",
			"discover: expected a kind of source, such as etcd, static or dns, at Caddyfile:4",
		},
		"health check of two services": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\thealth_check a b\n\t}\n}",
			"health_check: expected the name of a service, or no argument, at Caddyfile:4",
		},
		"health check with a block": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\thealth_check a {\n\t\t\tinterval 1s\n\t\t}\n\t}\n}",
			"health_check takes no block, at Caddyfile:5",
		},
		"subset of nothing": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tsubset 0\n\t}\n}",
			`subset "0": expected a number above 0, at Caddyfile:4`,
		},
		"subset without a size": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tsubset\n\t}\n}",
			"subset: expected <n> [<key>], at Caddyfile:4",
		},
		"unknown option of a source": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover etcd user {\n\t\t\tholt 60s\n\t\t}\n\t}\n}",
			`unknown option "holt" of discover etcd: expected cluster, dial_timeout, endpoints, hold, keepalive, layout, tls or user, at Caddyfile:5`,
		},
		"hold without a unit": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover etcd user {\n\t\t\thold 60\n\t\t}\n\t}\n}",
			`hold "60": expected a duration, such as 60s, or off, at Caddyfile:5`,
		},
		"unknown descriptors": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdescriptors openapi x\n\t}\n}",
			`descriptors "openapi": expected reflection, protoset or proto, at Caddyfile:4`,
		},
		"protoset without a file": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdescriptors protoset\n\t}\n}",
			"descriptors protoset: expected at least one file, at Caddyfile:4",
		},
		"connections upside down": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tconnections 4 2\n\t}\n}",
			"connections: the maximum 2 is below the minimum 4, at Caddyfile:4",
		},
		"no connections": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tconnections 0\n\t}\n}",
			`connections "0": expected a number above 0, at Caddyfile:4`,
		},
		"keepalive with three durations": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tkeepalive 1s 2s 3s\n\t}\n}",
			"keepalive: expected <time> [<timeout>] [permit_without_stream], at Caddyfile:4",
		},
		"backoff upside down": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tbackoff 5s 1s\n\t}\n}",
			"backoff: the maximum 1s is below the base 5s, at Caddyfile:4",
		},
		"snapshot neither on nor off": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover etcd user\n\t\tsnapshot 24h\n\t}\n}",
			`snapshot "24h": expected on or off, at Caddyfile:5`,
		},
		"snapshot without an argument": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\tdiscover etcd user\n\t\tsnapshot\n\t}\n}",
			"snapshot: expected on or off, at Caddyfile:5",
		},
		"unknown option of tls": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\ttls {\n\t\t\tverify off\n\t\t}\n\t}\n}",
			`unknown option "verify" in tls: expected one of client_auth, curves, insecure_skip_verify, renegotiation, server_name, trust_pool, at Caddyfile:5`,
		},
		"wrong argument in tls": {
			":8080\ngrpc_gateway {\n\tupstream a {\n\t\ttls {\n\t\t\trenegotiation maybe\n\t\t}\n\t}\n}",
			"wrong argument count or unexpected line ending after 'maybe', at Caddyfile:5",
		},
		"global option unknown": {
			"{\n\tgrpc_gateway {\n\t\tconsul {\n\t\t}\n\t}\n}\n:8080",
			`unknown option "consul" in the global option grpc_gateway: expected one of catalog, etcd, upstream, at Caddyfile:3`,
		},
		"global upstream twice": {
			"{\n\tgrpc_gateway {\n\t\tupstream a {\n\t\t\tdiscover static h:1\n\t\t}\n\t}\n\tgrpc_gateway {\n\t\tupstream a {\n\t\t\tdiscover static h:1\n\t\t}\n\t}\n}\n:8080",
			`upstream "a" is defined twice in the global option grpc_gateway, at Caddyfile:10`,
		},
		"etcd without endpoints": {
			"{\n\tgrpc_gateway {\n\t\tetcd {\n\t\t\tdial_timeout 5s\n\t\t}\n\t}\n}\n:8080",
			`etcd cluster "default" has no endpoints, at Caddyfile:3`,
		},
		"etcd twice": {
			"{\n\tgrpc_gateway {\n\t\tetcd {\n\t\t\tendpoints h:1\n\t\t}\n\t\tetcd {\n\t\t\tendpoints h:1\n\t\t}\n\t}\n}\n:8080",
			`etcd cluster "default" is defined twice in the global option grpc_gateway, at Caddyfile:6`,
		},
		"etcd user without a password": {
			"{\n\tgrpc_gateway {\n\t\tetcd {\n\t\t\tuser root\n\t\t}\n\t}\n}\n:8080",
			"user: expected <name> <password>, at Caddyfile:4",
		},
		"catalog without a kind": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet\n\t}\n}\n:8080",
			"catalog fleet: expected the kind of registry, such as etcd, at Caddyfile:3",
		},
		"catalog with a bad name": {
			"{\n\tgrpc_gateway {\n\t\tcatalog a:b etcd /\n\t}\n}\n:8080",
			`catalog "a:b": expected a name without colons, slashes and spaces, at Caddyfile:3`,
		},
		"catalog of an unknown kind": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet consul\n\t}\n}\n:8080",
			"catalog consul: there is no such registry: expected one of etcd, at Caddyfile:3",
		},
		"catalog without a prefix": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd\n\t}\n}\n:8080",
			"expected one prefix, as in: catalog fleet etcd /microservices, at Caddyfile:3",
		},
		"catalog twice": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd /\n\t\tcatalog fleet etcd /\n\t}\n}\n:8080",
			`catalog "fleet" is defined twice in the global option grpc_gateway, at Caddyfile:4`,
		},
		"catalog with an unknown option": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd / {\n\t\t\tcolour red\n\t\t}\n\t}\n}\n:8080",
			`unknown option "colour" of catalog etcd: expected cluster, endpoints, hold or layout, or an option of every catalog, at Caddyfile:4`,
		},
		"catalog with an unknown layout": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd / {\n\t\t\tlayout nacos\n\t\t}\n\t}\n}\n:8080",
			`unknown etcd layout "nacos": expected auto, gozero, etcd, kratos, kitex, micro or plain, at Caddyfile:4`,
		},
		"catalog with two kinds of cluster": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd / {\n\t\t\tcluster a\n\t\t\tendpoints h:1\n\t\t}\n\t}\n}\n:8080",
			"catalog etcd: expected either cluster or endpoints, found both, at Caddyfile:3",
		},
		"catalog limit twice": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd / {\n\t\t\tlimit 5\n\t\t\tlimit 6\n\t\t}\n\t}\n}\n:8080",
			`option "limit" comes twice in catalog: the first is in line 4, at Caddyfile:5`,
		},
		"catalog layout twice": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd / {\n\t\t\tlayout auto\n\t\t\tlayout auto\n\t\t}\n\t}\n}\n:8080",
			"option layout of catalog etcd is given twice, at Caddyfile:5",
		},
		"catalog limit too high": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd / {\n\t\t\tlimit 100000\n\t\t}\n\t}\n}\n:8080",
			`catalog "fleet": limit 100000: expected a number from 1 to 10000, at Caddyfile:3`,
		},
		"catalog idle too short": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd / {\n\t\t\tidle 10ms\n\t\t}\n\t}\n}\n:8080",
			`catalog "fleet": idle: expected at least 1s, at Caddyfile:3`,
		},
		"catalog require without a value": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd / {\n\t\t\trequire gateway\n\t\t}\n\t}\n}\n:8080",
			"require gateway: expected <name>=<value>, at Caddyfile:4",
		},
		"catalog require twice": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd / {\n\t\t\trequire a=b a=c\n\t\t}\n\t}\n}\n:8080",
			"require: a comes twice, at Caddyfile:4",
		},
		"catalog upstream with a name": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd / {\n\t\t\tupstream user {\n\t\t\t}\n\t\t}\n\t}\n}\n:8080",
			"upstream: expected a block, without a name, at Caddyfile:4",
		},
		"catalog upstream with discover": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd / {\n\t\t\tupstream {\n\t\t\t\tdiscover static h:1\n\t\t\t}\n\t\t}\n\t}\n}\n:8080",
			`catalog "fleet": upstream: discover cannot be set, because the catalog finds the instances, at Caddyfile:3`,
		},
		"catalog without expose": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd /\n\t}\n}\n:8080\ngrpc_gateway catalog:fleet",
			"grpc_gateway with a catalog: expose is required with a catalog, because whoever may write to the registry can publish methods there; `expose *` allows all of them, at Caddyfile:7",
		},
		"catalog that is not defined": {
			":8080\ngrpc_gateway catalog:fleet {\n\texpose *\n}",
			`target catalog:fleet: the global option grpc_gateway defines no catalog "fleet", at Caddyfile:2`,
		},
		"catalog as a target twice": {
			"{\n\tgrpc_gateway {\n\t\tcatalog fleet etcd /\n\t}\n}\n:8080\ngrpc_gateway" + strings.Repeat(" catalog:fleet", 2) + " {\n\texpose *\n}",
			"target catalog:fleet comes twice in grpc_gateway, at Caddyfile:7",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := adapt(t, tt.caddyfile)
			if err == nil {
				t.Fatal("no error")
			}
			if got := strings.TrimPrefix(err.Error(), "parsing caddyfile tokens for 'grpc_gateway': "); got != tt.want {
				t.Errorf("got:  %s\nwant: %s", got, tt.want)
			}
		})
	}
}
