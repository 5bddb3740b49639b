package module

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/caddy-grpc/gateway/discovery"
)

// callAnswer is what `call --json` prints.
type callAnswer struct {
	Status int             `json:"status"`
	Header http.Header     `json:"header"`
	Body   json.RawMessage `json:"body"`
}

// call makes one call and prints the answer. The error says why the call failed.
func call(cmd *cobra.Command, args []string) error {
	req, err := newCall(cmd, args)
	if err != nil {
		return err
	}
	timeout, _ := cmd.Flags().GetDuration("timeout")
	client := http.Client{Timeout: timeout}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("calling: %w", err)
	}
	defer resp.Body.Close()
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		err = callJSON(cmd, resp)
	} else {
		err = callText(cmd.OutOrStdout(), resp)
	}
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("the call failed: HTTP %s", resp.Status)
	}
	return err
}

// callJSON prints the whole answer as one JSON value.
func callJSON(cmd *cobra.Command, resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	answer := callAnswer{Status: resp.StatusCode, Header: resp.Header, Body: body}
	if !json.Valid(body) {
		answer.Body, _ = json.Marshal(string(body))
	}
	if err := show(cmd, answer, nil); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
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
			return fmt.Errorf("reading the answer: %w", err)
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

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
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
	return fmt.Errorf("the stream failed: code %d: %s", status.Code, status.Message)
}
