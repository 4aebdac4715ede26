package portal

import (
	"net/http"
	"strings"
)

const (
	// restPrefix is where the paths of the REST server begin here.
	restPrefix = "/api/rest"
	maxJob     = 128<<10 + 1 // the REST server says that a job is too long
	maxBody    = 64 << 10
)

// route is a request that the page can send to the REST server.
type route struct {
	methods string // separated by spaces
	path    string // {} stands for one segment
	// maxBody is the longest body; 0 if there is none.
	maxBody int64
	// public requests need no session.
	public bool
	// stream requests stay open as long as the REST server sends.
	stream bool
}

// routes are all requests that are forwarded. Nothing else of the REST server can be
// reached with the cookie of a browser.
func routes() []route {
	const v2, jobs, users, groups = "/api/v2", "/api/v2/jobs", openPAI + "/users", openPAI + "/groups"
	const attempt = openPAI + "/jobs/{}/attempts/{}"
	return []route{
		{methods: "GET", path: v2 + "/info", public: true},
		{methods: "GET", path: jobs},
		{methods: "POST", path: jobs, maxBody: maxJob},
		{methods: "POST", path: jobs + "/dry-run", maxBody: maxJob},
		{methods: "GET", path: jobs + "/{}"},
		{methods: "GET", path: jobs + "/{}/config"},
		{methods: "GET", path: jobs + "/{}/operations"},
		{methods: "GET", path: jobs + "/{}/logs", stream: true},
		{methods: "PUT", path: jobs + "/{}/executionType", maxBody: maxBody},
		{methods: "GET", path: v2 + "/operations"},
		{methods: "GET", path: v2 + "/operations/{}"},

		{methods: "GET", path: openPAI + "/jobs"},
		{methods: "GET", path: openPAI + "/jobs/{}"},
		{methods: "GET", path: openPAI + "/jobs/{}/events"},
		{methods: "PUT DELETE", path: openPAI + "/jobs/{}/tag", maxBody: maxBody},
		{methods: "GET", path: openPAI + "/jobs/{}/job-attempts"},
		{methods: "GET", path: openPAI + "/jobs/{}/job-attempts/{}"},
		{methods: "GET", path: attempt},
		{methods: "GET", path: attempt + "/taskRoles/{}/taskIndex/{}/attempts"},

		{methods: "GET", path: openPAI + "/virtual-clusters"},
		{methods: "GET", path: openPAI + "/virtual-clusters/{}"},
		{methods: "GET", path: openPAI + "/kubernetes/nodes"},
		{methods: "GET", path: openPAI + "/kubernetes/pods"},
		{methods: "GET", path: openPAI + "/storages"},
		{methods: "GET", path: openPAI + "/storages/{}"},
		{methods: "GET", path: openPAI + "/alerts"},

		{methods: "GET", path: users},
		{methods: "POST PUT", path: users, maxBody: maxBody},
		{methods: "PUT", path: users + "/me", maxBody: maxBody},
		{methods: "GET DELETE", path: users + "/{}"},
		{methods: "GET", path: groups},
		{methods: "POST PUT", path: groups, maxBody: maxBody},
		{methods: "GET DELETE", path: groups + "/{}"},
		{methods: "GET", path: groups + "/{}/userlist"},
		{methods: "GET", path: openPAI + "/tokens"},
		{methods: "GET", path: openPAI + "/tokens/check"},
		{methods: "POST", path: openPAI + "/tokens/application", maxBody: maxBody},
		{methods: "DELETE", path: openPAI + "/tokens/{}"},
	}
}

// find returns the route of a request to a path of the REST server.
func find(all []route, method, path string) (route, error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	err := error(errNotFound)
	for _, r := range all {
		if !r.matches(path) {
			continue
		}
		for m := range strings.FieldsSeq(r.methods) {
			if m == method {
				return r, nil
			}
		}
		err = errMethod
	}
	return route{}, err
}

func (r route) matches(path string) bool {
	pattern, segments := strings.Split(r.path, "/"), strings.Split(path, "/")
	if len(pattern) != len(segments) {
		return false
	}
	for i, p := range pattern {
		if p != "{}" && p != segments[i] {
			return false
		}
	}
	return true
}

// restPath returns the path of the REST server that a request is for. The REST server and
// the portal must see the same path, so one that could be read in two ways is refused.
func restPath(req *http.Request) (string, error) {
	path, ok := strings.CutPrefix(req.URL.Path, restPrefix)
	escaped := strings.ToLower(req.URL.EscapedPath())
	if !ok || strings.Contains(escaped, "%2f") || strings.Contains(escaped, "%5c") {
		return "", errNotFound
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return "", errNotFound
	}
	for i, segment := range strings.Split(path, "/") {
		if (segment == "") != (i == 0) || segment == "." || segment == ".." {
			return "", errNotFound
		}
	}
	return path, nil
}
