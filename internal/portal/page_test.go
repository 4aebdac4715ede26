package portal

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// Every address shows the page, under a policy that runs nothing but the scripts of the
// portal, with a nonce that is never the same.
func TestPageHasAStrictPolicy(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	nonce := regexp.MustCompile(`content="([A-Za-z0-9+/=]{16,})"`)
	seen := map[string]bool{}
	for _, path := range []string{"/", "/jobs", "/jobs/ada/train", "/sign-in", "/anything/else", "/?x=<script>"} {
		a := b.do(http.MethodGet, path, "", nil)
		m := nonce.FindStringSubmatch(a.body)
		if a.status != http.StatusOK || len(m) != 2 || seen[m[1]] || strings.Contains(a.body, noncePlace) {
			t.Fatalf("%s: got %d, nonce %v", path, a.status, m)
		}
		seen[m[1]] = true
		want := "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-" + m[1] + "'; connect-src 'self'; img-src 'self' data:; " +
			"font-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
		if got := a.header.Get("Content-Security-Policy"); got != want {
			t.Errorf("%s: got policy %s", path, got)
		}
		for name, value := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			"Strict-Transport-Security": "", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := a.header.Get(name); got != value {
				t.Errorf("%s: got %s %q, want %q", path, name, got, value)
			}
		}
	}
}

func TestFilesOfThePage(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	for path, want := range map[string]struct {
		status      int
		kind, cache string
	}{
		"/assets/app-1a2b.js":     {200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		"/assets/sans-3c4d.woff2": {200, "font/woff2", "public, max-age=31536000, immutable"},
		"/favicon.svg":            {200, "image/svg+xml", "no-cache"},
		"/assets/gone-5e6f.js":    {404, "application/json", "no-store"},
		"/api/nothing":            {404, "application/json", "no-store"},
		"/api":                    {404, "application/json", "no-store"},
	} {
		a := b.do(http.MethodGet, path, "", nil)
		if a.status != want.status || a.header.Get("Content-Type") != want.kind || a.header.Get("Cache-Control") != want.cache {
			t.Errorf("%s: got %d, %v", path, a.status, a.header)
		}
	}
	if a := b.do(http.MethodHead, "/assets/app-1a2b.js", "", nil); a.status != http.StatusOK || a.body != "" || a.header.Get("Content-Length") != "5" {
		t.Errorf("HEAD: got %d, %q", a.status, a.body)
	}
	if a := b.do(http.MethodPost, "/jobs", "", nil); a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d", a.status)
	}
}

// Addresses of OpenPAI lead to the right page, and never away from this portal.
func TestOldAddresses(t *testing.T) {
	t.Parallel()
	b := newWorld(t).browser()
	for old, want := range map[string]string{
		"/job-detail.html?username=ada&jobName=train":       "/jobs/ada/train",
		"/job-detail.html?username=ada&jobName=ada~train":   "/jobs/ada/train",
		"/job-detail.html?jobName=train":                    "/jobs",
		"/task-attempt.html?username=ada&jobName=train&x=1": "/jobs/ada/train",
		"/submit.html": "/submit",
		"/submit.html?op=resubmit&type=job&user=ada&jobname=train": "/submit?from=ada%2Ftrain",
		"/submit.html?user=ada&jobname=train":                      "/submit",
		"/job-list.html":                                           "/jobs",
		"/job-list.html?vcName=default&status=Running&user=ada":    "/jobs?state=Running&user=ada&vc=default",
		"/login.html?from=https://evil.example":                    "/sign-in",
		"/index.html":                                              "/sign-in",
		"/cluster-view/hardware.html":                              "/machines",
		"/user-profile.html":                                       "/profile",
		// Names that would lead elsewhere.
		"/job-detail.html?username=/evil.example&jobName=x":          "/jobs",
		"/job-detail.html?username=..&jobName=..":                    "/jobs",
		"/job-detail.html?username=ada&jobName=..%2f..":              "/jobs",
		"/job-detail.html?username=ada&jobName=.":                    "/jobs",
		"/job-detail.html?username=ada&jobName=%0d%0aSet-Cookie:a=b": "/jobs",
		"/job-detail.html?username=ada&jobName=%3Cscript%3E":         "/jobs",
		"/job-list.html?keyword=%0d%0aX:%20y":                        "/jobs?keyword=%0D%0AX%3A+y",
	} {
		a := b.do(http.MethodGet, old, "", nil)
		if got := a.header.Get("Location"); a.status != http.StatusFound || got != want {
			t.Errorf("%s: got %d, %q, want %q", old, a.status, got, want)
		}
	}
	if a := b.do(http.MethodGet, "//evil.example/job-list.html", "", nil); a.header.Get("Location") != "" {
		t.Errorf("got redirect to %s", a.header.Get("Location"))
	}
}
