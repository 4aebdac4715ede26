package portal

import (
	"net/http"
	"net/url"
	"strings"
)

// requestHeader is a header that a page of another site cannot send without asking this
// server, which never agrees.
const requestHeader = "X-Pai-Request"

// fromThisPage refuses requests that a page of another site made the browser send. What
// changes something needs requestHeader, and the word of the browser that the request
// comes from this origin: another port of the same host is another origin, and a job can
// serve a page there.
func fromThisPage(req *http.Request) error {
	site := req.Header.Get("Sec-Fetch-Site")
	if isSafe(req.Method) {
		if site == "cross-site" || site == "same-site" {
			return errForbidden
		}
		return nil
	}
	if req.Header.Get(requestHeader) != "1" {
		return errForbidden
	}
	origin := req.Header.Get("Origin")
	switch {
	case origin != "" && !isOwn(origin, req.Host):
		return errForbidden
	case site == "same-origin", site == "" && origin != "":
		return nil
	}
	return errForbidden
}

func isSafe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func isOwn(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Scheme == "https" && strings.EqualFold(u.Host, host) && u.Path == "" && u.User == nil
}
