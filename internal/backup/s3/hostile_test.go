package s3_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/s3"
	"pai.dev/pai/internal/pai"
)

// against returns a target of a server that answers as the test says.
func against(t *testing.T, answer http.HandlerFunc) backup.Target {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	target, err := s3.Open("s3://backups/pai", backup.S3{Endpoint: server.URL}, s3.NewCredentials("key", "the-secret"))
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// refuse answers as S3 does with an error.
func refuse(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message) // the client can be gone
	}
}

// The answers of S3 that versitygw does not give are explained as well.
func TestAnswersAreExplained(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answer http.HandlerFunc
		want   string
		code   pai.Code
	}{
		{refuse(403, "AccessDenied", "no"), "access is denied", pai.CodeForbidden},
		{refuse(403, "RequestTimeTooSkewed", "no"), "the clocks of this host and of the server differ too much", pai.CodeFailed},
		{refuse(301, "PermanentRedirect", "no"), "in another region", pai.CodeUsage},
		{refuse(400, "Odd\x1b[2J", strings.Repeat("<b>&amp;</b>x\u202e", 5000)), "the server answers", pai.CodeFailed},
	} {
		err := s3.Reach(t.Context(), against(t, c.answer))
		if err == nil || !strings.Contains(err.Error(), c.want) || pai.CodeOf(err) != c.code {
			t.Errorf("got %v, want %q", err, c.want)
		} else if strings.ContainsAny(err.Error(), "\x1b\u202e") || len(err.Error()) > 1000 {
			t.Errorf("got a text of the server that is not bounded: %q", err)
		}
	}
}

// A server cannot send the backups to another one.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other server was asked") }))
	defer other.Close()
	target := against(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	if err := s3.Reach(t.Context(), target); err == nil {
		t.Error("a redirect is no error")
	}
	if _, err := target.Open(t.Context(), "lab-20261120t100000z/manifest.json"); err == nil {
		t.Error("a redirect is an object")
	}
}

// What a hostile server answers is bounded.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	page := 0
	endless := against(t, func(w http.ResponseWriter, r *http.Request) {
		page++
		_, _ = fmt.Fprint(w, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>`) // as above
		for i := range 1000 {
			_, _ = fmt.Fprintf(w, "<Contents><Key>pai/%d-%d</Key></Contents>", page, i)
		}
		_, _ = fmt.Fprint(w, `</ListBucketResult>`)
	})
	if _, err := endless.List(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 100000 objects") {
		t.Errorf("got %v for an endless list", err)
	}
	sent := 0
	large := against(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<ListBucketResult>")
		for chunk := strings.Repeat(" ", 1<<20); sent < 200; sent++ {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	})
	if _, err := large.List(t.Context()); err == nil || sent > 100 {
		t.Errorf("got %v after %d MiB, want an error after 8", err, sent)
	}
	huge := against(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(int64(1)<<40))
		w.Header().Set("Last-Modified", "Fri, 20 Nov 2026 10:00:00 GMT")
		w.WriteHeader(http.StatusOK)
	})
	if _, err := huge.Open(t.Context(), "lab-20261120t100000z/content.age"); err == nil || !strings.Contains(err.Error(), "the limit is") {
		t.Errorf("got %v for an object of a TiB", err)
	}
	names := against(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("uploads") {
			refuse(403, "AccessDenied", "no")(w, r)
			return
		}
		_, _ = fmt.Fprint(w, "<ListBucketResult>")
		for _, key := range []string{"pai/../../etc/passwd", "pai/lab-20261120t100000z/../x", "other/lab-20261120t100000z/manifest.json", "pai//manifest.json", "pai/lab-20261120t100000z/manifest.json"} {
			_, _ = fmt.Fprintf(w, "<Contents><Key>%s</Key></Contents>", key)
		}
		_, _ = fmt.Fprint(w, "</ListBucketResult>")
	})
	if keys, err := names.List(t.Context()); err != nil || len(keys) != 1 || keys[0] != "lab-20261120t100000z/manifest.json" {
		t.Errorf("got %q, %v, want only the key of a backup", keys, err)
	}
}
