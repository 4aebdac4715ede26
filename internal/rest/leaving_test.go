package rest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/job"
)

// A client with a kept connection that does not retry gets an answer to each request
// while the server drains. The answer says that the connection ends.
func TestDrainingServerKeepsIdleConnections(t *testing.T) {
	t.Parallel()
	access, stop := start(t, &scripted{jobs: []job.Status{}}, 10*time.Second)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(access.CA)
	conn, err := tls.Dial("tcp", strings.TrimPrefix(access.URLs[0], "https://"), &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	// status is that of an answer, and whether it ends the connection.
	request := func() (status int, last bool) {
		t.Helper()
		if _, err := fmt.Fprintf(conn, "GET /api/v2/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", access.Token); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Close
	}
	if status, last := request(); status != http.StatusOK || last {
		t.Fatalf("before: got %d, close %v", status, last)
	}
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	others := client(t, access)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // idle while the server drains
		resp, err := others.http.Get(access.URLs[0] + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("readyz says %d in a server that was asked to end", resp.StatusCode)
		}
	}
	if status, last := request(); status != http.StatusOK || !last {
		t.Errorf("while draining: got %d, close %v, want an answer that ends the connection", status, last)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
