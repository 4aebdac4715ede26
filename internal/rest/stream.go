package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"pai.dev/pai/internal/pai"
)

// missingHeader says what is missing in the output of a task. The output itself stays as
// the task wrote it.
const missingHeader = "Pai-Missing-Output"

// attemptHeader names the attempt of the task whose output an answer is, if the request names
// one: a server that does not know attempts has no such header.
const attemptHeader = "Pai-Attempt"

// logs writes the output of a task as it arrives. It returns nothing once the
// answer has started.
func (h *Handler) logs(w http.ResponseWriter, req *http.Request) (any, error) {
	id, err := jobID(req)
	if err != nil {
		return nil, err
	}
	o, err := logOptions(req)
	if err != nil {
		return nil, err
	}
	return nil, h.copyLogs(w, req, id, o)
}

// copyLogs returns an error if the answer has not started. An answer that has is cut off
// visibly if the output is not whole, whatever the reason: its end says that the task ended.
func (h *Handler) copyLogs(w http.ResponseWriter, req *http.Request, id JobID, o LogOptions) error {
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	go func() {
		select {
		case <-h.Ended:
			cancel(errEnding)
		case <-ctx.Done():
		}
	}()
	o.Missing = func(what string) { w.Header().Add(missingHeader, what) }
	o.Unread = func(err error) {
		h.Log.Warn("output of a task is missing", "path", logPath(req), "error", err, "details", pai.DetailsOf(err))
	}
	stream, err := h.Jobs.Logs(ctx, id, o)
	if err != nil {
		return endedBy(ctx, err)
	}
	defer stream.Close()
	if o.Attempt != nil {
		w.Header().Set(attemptHeader, strconv.Itoa(*o.Attempt))
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := copyFlushing(w, stream); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// copyFlushing copies each part as soon as it arrives.
func copyFlushing(w http.ResponseWriter, r io.Reader) error {
	control := http.NewResponseController(w)
	// The time limits of the server are for requests that are answered at once.
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{}), control.Flush()); err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := control.SetWriteDeadline(time.Now().Add(requestTimeout)); err != nil {
				return err
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := errors.Join(control.Flush(), control.SetWriteDeadline(time.Time{})); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
