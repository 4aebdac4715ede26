package portal

import (
	"net/url"
	"regexp"
	"strings"
)

// A user and a job as OpenPAI names them. What has another form leads to the list of jobs.
var (
	oldUser = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	oldJob  = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,254}$`)
)

// oldPages are the pages of OpenPAI's portal that need no parameters, by their address.
func oldPages() map[string]string {
	return map[string]string{
		"/index.html": "/sign-in", "/login.html": "/sign-in", "/change-password.html": "/profile", "/user-profile.html": "/profile",
		"/home.html": "/", "/dashboard.html": "/machines", "/submit.html": "/submit", "/submit_demo.html": "/submit", "/submit_v1.html": "/submit",
		"/job-list.html": "/jobs", "/view.html": "/jobs", "/job-detail.html": "/jobs", "/job-event.html": "/jobs", "/task-attempt.html": "/jobs",
		"/job-transfer.html": "/jobs", "/virtual-clusters.html": "/virtual-clusters", "/user-view.html": "/users", "/batch-register.html": "/users",
		"/register.html": "/users", "/cluster-view/services.html": "/services", "/cluster-view/hardware.html": "/machines",
		"/cluster-view/hardware/detail.html": "/machines", "/cluster-view/k8s.html": "/machines", "/plugin.html": "/",
	}
}

// oldAddress returns where an address of OpenPAI's portal leads to. Clients print such
// addresses, and people have them in their notes. The target is always a path of this
// portal, whatever the address has in it.
func oldAddress(u *url.URL) (string, bool) {
	to, ok := oldPages()[u.Path]
	if !ok {
		return "", false
	}
	q := u.Query()
	switch u.Path {
	case "/job-detail.html", "/job-event.html", "/task-attempt.html", "/view.html":
		if job, ok := jobOf(q, "username", "jobName"); ok {
			to += "/" + job
		}
	case "/submit.html", "/submit_demo.html", "/submit_v1.html":
		if job, ok := jobOf(q, "user", "jobname"); ok && q.Get("op") == "resubmit" {
			to += "?" + url.Values{"from": {job}}.Encode()
		}
	case "/job-list.html":
		to = withQuery(to, q)
	}
	return to, true
}

// jobOf returns USER/NAME from parameters.
func jobOf(q url.Values, user, name string) (string, bool) {
	u, n := first(q, user, "username", "user"), first(q, name, "jobName", "jobname")
	if n == "" { // an older link has USER~NAME alone
		u, n, _ = strings.Cut(u, "~")
	}
	if prefix, rest, ok := strings.Cut(n, "~"); ok && prefix == u {
		n = rest
	}
	if !oldUser.MatchString(u) || !oldJob.MatchString(n) {
		return "", false
	}
	return u + "/" + n, true
}

func first(q url.Values, names ...string) string {
	for _, name := range names {
		if v := q.Get(name); v != "" {
			return v
		}
	}
	return ""
}

// withQuery passes the filters of the list of jobs on.
func withQuery(to string, q url.Values) string {
	out := url.Values{}
	for old, now := range map[string]string{"vcName": "vc", "status": "state", "user": "user", "keyword": "keyword", "jobPriority": "priority"} {
		if v := q.Get(old); v != "" && len(v) <= 200 {
			out.Set(now, v)
		}
	}
	if len(out) == 0 {
		return to
	}
	return to + "?" + out.Encode()
}
