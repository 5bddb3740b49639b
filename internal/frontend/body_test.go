package frontend

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
)

func TestBoundSaysThatTheDeadlinePassed(t *testing.T) {
	for name, tc := range map[string]struct {
		timeout string
		reading time.Duration
		late    bool
	}{
		"in time":             {"2000", time.Second, false},
		"as the end was read": {"1000", time.Second + time.Millisecond, true},
		"from the start":      {"0", time.Millisecond, true},
		"there is none":       {"", time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
				if tc.timeout != "" {
					r.Header.Set("Connect-Timeout-Ms", tc.timeout)
				}
				stop, err := NewBody(httptest.NewRecorder(), r).Bound()
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(tc.reading)
				var e *Error
				if late := stop(); (late != nil) != tc.late || tc.late && (!errors.As(late, &e) || e.Code() != codes.DeadlineExceeded) {
					t.Errorf("got %v", late)
				}
			})
		})
	}
}
