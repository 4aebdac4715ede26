package rest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
)

// strangerBody is how long the body of a request that needs no token can take to arrive.
const strangerBody = 5 * time.Second

// forEveryone serves requests that need no token. They end like those of callers, and
// their bodies must arrive soon: a server that ends would wait for them.
func (h *Handler) forEveryone(next http.Handler, kind identity.Kind, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	limit := requestTimeout
	if kind == identity.Link {
		limit = outputLimit
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := bodySoon(w, req)
		if err != nil {
			fail(w, req, err)
			return
		}
		ctx, cancel := withLimit(req.Context(), limit)
		defer cancel()
		req = req.WithContext(ctx)
		req.Body = body
		next.ServeHTTP(w, req)
	})
}

// bodySoon returns the body of a request after it has arrived. What is longer than any
// request of a stranger is cut off: its reader refuses it.
func bodySoon(w http.ResponseWriter, req *http.Request) (io.ReadCloser, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req.Body, nil
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(strangerBody)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(req.Body, maxBody+1))
	if err != nil {
		return nil, pai.Errorf(pai.CodeInvalid, "send it again", "read the request: %w", err)
	}
	// Otherwise the server would take the end of this time for a client that left.
	err = control.SetReadDeadline(time.Now().Add(requestTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}
