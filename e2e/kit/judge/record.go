package judge

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// maxRecorded is how many bytes of a body are kept. What a stream has sent up to then is judged.
const maxRecorded = 1 << 20

// exchange is a call as it was sent and answered.
type exchange struct {
	request *http.Request
	sent    *capture
	status  int
	header  http.Header
	got     *capture
}

func (x *exchange) String() string {
	body, _ := x.sent.state()
	answer, _ := x.got.state()
	return fmt.Sprintf("%s %s %.200q -> %d %s %.300q", x.request.Method, x.request.URL.RequestURI(), body, x.status, x.header.Get("Content-Type"), answer)
}

// capture keeps the beginning of a body.
type capture struct {
	mu    sync.Mutex
	bytes bytes.Buffer
	whole bool // it was read to its end, and all of it is in bytes
}

func (c *capture) add(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes.Write(p[:min(len(p), maxRecorded-c.bytes.Len())])
}

func (c *capture) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole = c.bytes.Len() < maxRecorded
}

func (c *capture) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes.Reset()
	c.whole = false
}

func (c *capture) state() (body []byte, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.bytes.Bytes()), c.whole
}

// tee captures what is read from a body. ended is called once, after the last read or by Close.
type tee struct {
	io.ReadCloser

	to    *capture
	once  sync.Once
	ended func()
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.to.add(p[:n])
	if err == io.EOF {
		t.to.end()
	}
	if err != nil {
		t.once.Do(t.ended)
	}
	return n, err
}

func (t *tee) Close() error {
	err := t.ReadCloser.Close()
	t.once.Do(t.ended)
	return err
}

// Transport returns a transport that passes calls on to next, and has each call judged when its
// answer was read or closed. document finds the document of the handler that answers a request.
func (res *Results) Transport(next http.RoundTripper, document func(*http.Request) (*Document, error)) http.RoundTripper {
	return &transport{next: next, document: document, results: res}
}

type transport struct {
	next     http.RoundTripper
	document func(*http.Request) (*Document, error)
	results  *Results
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	x := &exchange{request: r.Clone(r.Context()), sent: &capture{}, got: &capture{}}
	out := r.Clone(r.Context())
	if r.Body == nil || r.Body == http.NoBody {
		x.sent.end()
	} else {
		out.Body = &tee{ReadCloser: r.Body, to: x.sent, ended: func() {}}
	}
	if r.GetBody != nil {
		out.GetBody = func() (io.ReadCloser, error) {
			body, err := r.GetBody()
			x.sent.reset()
			return &tee{ReadCloser: body, to: x.sent, ended: func() {}}, err
		}
	}
	resp, err := t.next.RoundTrip(out)
	if err != nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, err
	}
	x.status, x.header = resp.StatusCode, resp.Header.Clone()
	resp.Body = &tee{ReadCloser: resp.Body, to: x.got, ended: func() { t.judge(x) }}
	return resp, nil
}

func (t *transport) judge(x *exchange) {
	document, err := t.document(x.request)
	if err != nil {
		t.results.notef("%s: no document: %v", x, err)
		return
	}
	t.results.judge(document, x)
}

// CloseIdleConnections is what http.Client calls by its method of this name.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Fetcher returns a function that finds the document of the handler that answers a request. It asks
// for path at the same host with the same value of the header, by which some sites choose a handler
// ("": none), and keeps each document that is complete.
func Fetcher(path, header string) func(*http.Request) (*Document, error) {
	var mu sync.Mutex
	known := make(map[string]*Document)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func(r *http.Request) (*Document, error) {
		mu.Lock()
		defer mu.Unlock()
		value := r.Header.Get(header)
		if d := known[value]; d != nil {
			return d, nil
		}
		d, err := fetch(client, &url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host, Path: path}, header, value)
		if err == nil && len(d.Pending) == 0 {
			known[value] = d
		}
		return d, err
	}
}

func fetch(client *http.Client, from *url.URL, header, value string) (*Document, error) {
	req, err := http.NewRequest(http.MethodGet, from.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	if value != "" {
		req.Header.Set(header, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %d %.200s", from, resp.StatusCode, raw)
	}
	d, err := New(raw)
	if err != nil {
		return nil, err
	}
	for _, j := range d.Judges {
		if err := j.Document(); err != nil {
			return nil, fmt.Errorf("%s refuses the document: %w", j.Name(), err)
		}
	}
	return d, nil
}
