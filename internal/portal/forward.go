package portal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"pai.dev/pai/internal/tlsserver"
)

const (
	userAgent = "pai-portal"
	// forwardTimeout ends a request that is no stream after the REST server ends it.
	forwardTimeout = 70 * time.Second
	// streamTimeout is the same for a stream.
	streamTimeout = 13 * time.Hour
)

// forwarded is what a request needs on its way through the proxy.
type forwarded struct {
	path  string
	token string
}

type forwardedKey struct{}

// forward sends a request of the page to the REST server.
func (h *Handler) forward(w http.ResponseWriter, req *http.Request) {
	path, err := restPath(req)
	if err != nil {
		fail(w, err)
		return
	}
	route, err := find(h.routes, req.Method, path)
	if err != nil {
		fail(w, err)
		return
	}
	s, err := h.session(req)
	if err != nil && !route.public {
		h.refuseSession(w, err)
		return
	}
	read := readBody
	if err != nil {
		read = readSoon
	}
	body, err := read(w, req, route.maxBody)
	if err != nil {
		fail(w, err)
		return
	}
	ctx, cancel := h.limited(req, route)
	defer cancel()
	req = req.WithContext(context.WithValue(ctx, forwardedKey{}, forwarded{path, s.Token})) //nolint:contextcheck // ctx is of req
	req.Body, req.ContentLength, req.TransferEncoding = http.NoBody, int64(len(body)), nil
	if len(body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	if route.stream {
		if w, err = newStreamWriter(w); err != nil {
			h.Log.Error("cannot answer with a stream", "error", err)
			fail(w, errInternal)
			return
		}
	}
	h.proxy.ServeHTTP(w, req)
}

// readBody returns the whole body of a request, whose length counts in the portal, also
// where the REST server answers before it has read the body.
func readBody(w http.ResponseWriter, req *http.Request, limit int64) ([]byte, error) {
	if req.ContentLength > limit {
		return nil, errTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, limit))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, errTooLarge
	case err != nil:
		return nil, errBody
	}
	return body, nil
}

// strangerBody is how long the body of a request that needs no session can take to arrive.
const strangerBody = 5 * time.Second

// readSoon is readBody for a request that needs no session.
func readSoon(w http.ResponseWriter, req *http.Request, limit int64) ([]byte, error) {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(strangerBody)); err != nil {
		return nil, errBody
	}
	body, err := readBody(w, req, limit)
	if err != nil {
		return nil, err
	}
	// Otherwise the server would take the end of this time for a client that left.
	if err := control.SetReadDeadline(time.Now().Add(forwardTimeout)); err != nil {
		return nil, errBody
	}
	return body, nil
}

// limited is the context of a forwarded request. A stream ends when the portal does, so
// that the page opens it again on another one.
func (h *Handler) limited(req *http.Request, r route) (context.Context, context.CancelFunc) {
	limit := forwardTimeout
	if r.stream {
		limit = streamTimeout
	}
	ctx, cancel := context.WithTimeoutCause(req.Context(), limit, fmt.Errorf("not done within %s", limit))
	if r.stream {
		go func() {
			select {
			case <-h.Ended:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}

// requestHeaders are the headers of the page that the REST server gets.
func requestHeaders() []string { return []string{"Accept", "Content-Type"} }

// answerHeaders are the headers of the REST server that the page gets.
func answerHeaders() []string {
	return []string{"Content-Type", "Content-Length", "Retry-After", "Pai-Missing-Output", "Pai-Incomplete", "Pai-Not-Started"}
}

func (h *Handler) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        h.rewrite,
		Transport:      h.Transport,
		FlushInterval:  -1, // at once
		ErrorLog:       slog.NewLogLogger(h.Log.Handler(), slog.LevelDebug),
		ModifyResponse: h.modifyAnswer,
		ErrorHandler:   h.forwardFailed,
	}
}

// rewrite makes the request to the REST server: its path, its query, the token, and
// nothing that could name another client or user.
func (h *Handler) rewrite(p *httputil.ProxyRequest) {
	f, _ := p.In.Context().Value(forwardedKey{}).(forwarded)
	p.Out.URL = &url.URL{Scheme: h.REST.Scheme, Host: h.REST.Host, Path: f.path, RawQuery: p.Out.URL.RawQuery}
	p.Out.Host = ""
	p.Out.Header = http.Header{"User-Agent": {userAgent}}
	p.Out.Trailer = nil
	for _, name := range requestHeaders() {
		if value := p.In.Header.Get(name); value != "" {
			p.Out.Header.Set(name, value)
		}
	}
	if f.token != "" {
		p.Out.Header.Set("Authorization", "Bearer "+f.token)
	}
}

// modifyAnswer keeps the headers that the page needs. A session whose token is not valid
// any more ends.
func (h *Handler) modifyAnswer(resp *http.Response) error {
	header := http.Header{}
	for _, name := range answerHeaders() {
		if values := resp.Header.Values(name); len(values) > 0 {
			header[name] = values
		}
	}
	if resp.StatusCode == http.StatusUnauthorized {
		header.Set("Set-Cookie", removedCookie().String())
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 || resp.StatusCode == http.StatusSwitchingProtocols {
		return fmt.Errorf("the REST server answered %s, which it never does", resp.Status)
	}
	resp.Header, resp.Trailer = header, nil
	return nil
}

func (h *Handler) forwardFailed(w http.ResponseWriter, req *http.Request, err error) {
	if !errors.Is(err, context.Canceled) { // the client disconnected, or the portal ends
		h.Log.Warn("the REST server is unavailable", "method", req.Method, "error", err)
	}
	fail(w, errUnavailable)
}

// streamWriter moves the time limit of an answer forward with each part.
type streamWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func newStreamWriter(w http.ResponseWriter) (http.ResponseWriter, error) {
	s := streamWriter{w, http.NewResponseController(w)}
	return s, errors.Join(s.control.SetReadDeadline(time.Time{}), s.control.SetWriteDeadline(time.Time{}))
}

// Write ends with an error if the client does not read.
func (s streamWriter) Write(p []byte) (int, error) {
	if err := s.control.SetWriteDeadline(time.Now().Add(tlsserver.WriteTimeout)); err != nil {
		return 0, err
	}
	n, err := s.ResponseWriter.Write(p)
	if err != nil {
		return n, err
	}
	return n, errors.Join(s.control.Flush(), s.control.SetWriteDeadline(time.Time{}))
}

// Unwrap is for http.ResponseController.
func (s streamWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
