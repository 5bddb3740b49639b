package module

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/routes"
)

// callAnswer is what `call --json` prints.
type callAnswer struct {
	Status int             `json:"status"`
	Header http.Header     `json:"header"`
	Body   json.RawMessage `json:"body"`
}

// call makes one call and prints the answer. The error says why the call failed.
func call(cmd *cobra.Command, args []string) error {
	at, err := siteFor(cmd)
	if err != nil {
		return err
	}
	req, err := newCall(cmd, at.url, args)
	if err != nil {
		return err
	}
	timeout, _ := cmd.Flags().GetDuration("timeout")
	client, err := newClient(cmd, at.dial, timeout)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return lost(fmt.Errorf("calling: %w", err))
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return callFailed(cmd, resp)
	}
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		return callJSON(cmd, resp)
	}
	return callText(cmd.OutOrStdout(), resp)
}

// newCall is the request of a call to the site.
func newCall(cmd *cobra.Command, site string, args []string) (*http.Request, error) {
	rpc := strings.TrimPrefix(args[0], "/")
	if err := routes.CheckRPC(rpc); err != nil {
		return nil, err
	}
	message := []byte("{}")
	if len(args) == 2 {
		message = []byte(args[1])
	}
	if string(message) == "-" {
		var err error
		if message, err = io.ReadAll(cmd.InOrStdin()); err != nil {
			return nil, fmt.Errorf("reading the message: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, strings.TrimSuffix(site, "/")+"/"+rpc, bytes.NewReader(message))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	headers, _ := cmd.Flags().GetStringArray("header")
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, errors.New(`header: expected "name: value"`)
		}
		req.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return req, nil
}

// lost is the error of a connection that failed, or of an answer that did not come in time.
func lost(err error) error {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &commandError{exitGRPC + int(codes.DeadlineExceeded), err}
	}
	return &commandError{exitUnreachable, err}
}

// callFailed prints the answer to a call that failed. The error has the code of the gRPC status, if
// the answer is one.
func callFailed(cmd *cobra.Command, resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return lost(fmt.Errorf("reading the answer: %w", err))
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		err = callJSON(cmd, resp)
	} else {
		err = callText(cmd.OutOrStdout(), resp)
	}
	if err != nil {
		return err
	}
	err = fmt.Errorf("the call failed: HTTP %s", resp.Status)
	// The second is the name of the code in problem details.
	var status struct{ Code, Title codes.Code }
	_ = json.Unmarshal(body, &status)
	if code := cmp.Or(status.Code, status.Title); code != codes.OK {
		err = &commandError{exitGRPC + int(code), err}
	}
	return err
}

// isFailure reports whether a number is the code of a gRPC status that is not OK.
func isFailure(code int) bool { return code > int(codes.OK) && code <= int(codes.Unauthenticated) }

// callJSON prints the whole answer as one JSON value.
func callJSON(cmd *cobra.Command, resp *http.Response) error {
	body, readErr := io.ReadAll(resp.Body)
	answer := callAnswer{Status: resp.StatusCode, Header: resp.Header, Body: body}
	if !json.Valid(body) {
		answer.Body, _ = json.Marshal(string(body))
	}
	if err := show(cmd, answer, nil); err != nil {
		return err
	}
	if readErr != nil {
		return lost(fmt.Errorf("reading the answer: %w", readErr))
	}
	if isStream(resp) {
		lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
		return streamError(lines[len(lines)-1])
	}
	return nil
}

// callText prints the body line by line, as it comes. A line of a stream is a message, and the last
// one may say why the stream failed.
func callText(w io.Writer, resp *http.Response) error {
	in := bufio.NewReader(resp.Body)
	var last []byte
	for {
		line, err := in.ReadBytes('\n')
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			last = line
		}
		if len(line) > 0 || err == nil {
			if _, err := fmt.Fprintln(w, forOutput(w, line)); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if isStream(resp) {
				return streamError(last)
			}
			return nil
		case err != nil:
			return lost(fmt.Errorf("reading the answer: %w", err))
		}
	}
}

// forOutput is a line of a body as it is printed. JSON stays the same value. Other texts are made
// printable on a terminal only: a file or another program gets what the service sent.
func forOutput(w io.Writer, line []byte) string {
	switch {
	case json.Valid(line):
		return string(printableJSON(line))
	case isTerminal(w):
		return discovery.Printable(string(line))
	default:
		return string(line)
	}
}

// isTerminal reports whether people read what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// isStream reports whether the body is a stream of messages, one a line.
func isStream(resp *http.Response) bool {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && kind == "application/x-ndjson"
}

// streamError is the error that the last line of a stream tells of: {"error": {"code": 5,
// "message": "…"}}.
func streamError(line []byte) error {
	var last map[string]json.RawMessage
	var status struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	isError := json.Unmarshal(line, &last) == nil && len(last) == 1 && json.Unmarshal(last["error"], &status) == nil
	if !isError || status.Code == 0 {
		return nil
	}
	err := fmt.Errorf("the stream failed: code %d: %s", status.Code, status.Message)
	if !isFailure(status.Code) {
		return err
	}
	return &commandError{exitGRPC + status.Code, err}
}
