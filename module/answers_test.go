package module

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// TestAnswers compiles the JSON of the option.
func TestAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		json string
		want *frontend.Answers
		err  string
	}{
		"none":                {`null`, nil, ""},
		"nothing":             {`{}`, &frontend.Answers{}, ""},
		"the defaults":        {`{"empty_status":200,"internal":"show"}`, &frontend.Answers{}, ""},
		"empty answers":       {`{"empty_status":204}`, &frontend.Answers{EmptyStatus: 204}, ""},
		"a key in upper case": {`{"status_from":"X-Http-Code"}`, &frontend.Answers{StatusFrom: "x-http-code"}, ""},
		"hidden texts":        {`{"internal":"hide"}`, &frontend.Answers{HideInternal: true}, ""},
		"codes": {`{"map":{"FAILED_PRECONDITION":412,"CANCELLED":408}}`,
			&frontend.Answers{HTTPStatus: map[codes.Code]int{codes.FailedPrecondition: 412, codes.Canceled: 408}}, ""},
		"an envelope by default": {`{"envelope":{}}`, &frontend.Answers{Envelope: &frontend.Envelope{
			Prefix: []byte(`{"code":0,"message":"","data":`), Suffix: []byte(`}`), Code: "code", Message: "message", Data: "data",
		}}, ""},
		"an envelope with names and texts of its own": {`{"envelope":{"code":"c","ok":-1,"message":"a \"b\"","ok_message":"é\n","data":"d","streams":true},"map":{"NOT_FOUND":200}}`,
			&frontend.Answers{HTTPStatus: map[codes.Code]int{codes.NotFound: 200}, Envelope: &frontend.Envelope{
				Prefix: []byte(`{"c":-1,"a \"b\"":"é\n","d":`), Suffix: []byte(`}`), Code: "c", Message: `a "b"`, Data: "d", Streams: true,
			}}, ""},

		"empty_status":          {`{"empty_status":201}`, nil, "empty_status 201: expected 200 or 204"},
		"internal":              {`{"internal":"on"}`, nil, `internal "on": expected show or hide`},
		"a key of the protocol": {`{"status_from":"content-type"}`, nil, `status_from "content-type": expected a key of the service`},
		"a key of gRPC":         {`{"status_from":"grpc-metadata-code"}`, nil, `status_from "grpc-metadata-code": expected a key of the service`},
		"a binary key":          {`{"status_from":"x-bin"}`, nil, `status_from "x-bin": expected a key for text`},
		"no key":                {`{"status_from":"a b"}`, nil, `status_from "a b": expected a metadata key`},
		"no code":               {`{"map":{"NOPE":412}}`, nil, `map: "NOPE": expected the name of an error code`},
		"a success":             {`{"map":{"OK":412}}`, nil, `map: "OK": expected the name of an error code`},
		"no error":              {`{"map":{"ABORTED":302}}`, nil, `map: ABORTED 302: expected a status from 400 to 599`},
		"too high":              {`{"map":{"ABORTED":600}}`, nil, `map: ABORTED 600: expected a status from 400 to 599`},
		"200 in no envelope":    {`{"map":{"ABORTED":200}}`, nil, `map: ABORTED 200: expected a status from 400 to 599; an error can be 200 only in an envelope`},
		"two members of a name": {`{"envelope":{"code":"data"}}`, nil, `envelope: members "data", "message" and "data": expected three names`},
		"the name of details":   {`{"envelope":{"data":"details"}}`, nil, `envelope: a member "details": expected another name`},
	} {
		t.Run(name, func(t *testing.T) {
			var a *Answers
			if err := json.Unmarshal([]byte(tt.json), &a); err != nil {
				t.Fatal(err)
			}
			got, err := a.compile()
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if got != nil && len(got.HTTPStatus) == 0 {
				got.HTTPStatus = nil
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}
