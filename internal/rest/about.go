package rest

import (
	"fmt"
	"math"
	"net/http"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/rest/apidoc"
	"pai.dev/pai/internal/rest/openpai"
)

// about is what the description of the API has about an endpoint, besides what its other
// fields say.
type about struct {
	summary string
	query   []parameter
	// body is what the call reads, as a value of its type; []byte is a job in YAML.
	body     any
	required []string // fields of the body
	// answer is what the call returns, as a value of its type; []byte is YAML.
	answer  any
	headers []string // of the answer
	// failures are the codes of errors besides those that all such endpoints have.
	failures []int
}

// plainText is the answer of a call that writes it itself.
type plainText string

// either is an answer that has one of several forms.
type either []any

// noAnswer is the answer of a call that always fails.
type noAnswer struct{}

// parameter is a parameter in a query.
type parameter struct {
	name, what string
	schema     *apidoc.Schema
	required   bool
}

// namesOf are the names of parameters.
func namesOf(parameters []parameter) []string {
	names := make([]string, len(parameters))
	for i, p := range parameters {
		names[i] = p.name
	}
	return names
}

func virtualClusterParameter() []parameter {
	return []parameter{{name: "virtualCluster", what: "The virtual cluster of the job. It overrides that of the job file.", schema: apidoc.Text()}}
}

// listParameters select jobs for paictl; see list.
func listParameters() []parameter {
	return []parameter{
		{name: "username", what: "The user who submitted the jobs.", schema: apidoc.Matching(userPattern.String())},
		{name: "vc", what: "The virtual cluster of the jobs.", schema: apidoc.Text()},
		{name: "state", what: "The state of the jobs, in upper or lower case.", schema: apidoc.OneOf(job.States()...)},
		{name: "offset", what: "How many of the newest jobs to leave out; only with a limit.", schema: apidoc.Whole(0, math.MaxInt32)},
		{name: "limit", what: "How many jobs a page has; 0 or nothing is all.", schema: apidoc.Whole(0, recordedJobs)},
	}
}

// outputParameters select output; see logOptions.
func outputParameters() []parameter {
	return []parameter{
		{name: "taskRole", what: "The task role; the first one if it is empty.", schema: apidoc.Text()},
		{name: "index", what: "The index of the task in its role.", schema: apidoc.Whole(0, math.MaxInt)},
		{name: "attempt", what: "The attempt of the task, counted from 0; the newest one if it is empty.", schema: apidoc.Whole(0, math.MaxInt)},
		{name: "tail", what: "How many of the last lines; 0 is all.", schema: apidoc.Whole(0, math.MaxInt64)},
		{name: "follow", what: "Whether to wait for more output until the task ends.", schema: apidoc.Truth()},
		{name: "timestamps", what: "Whether to put the time and a space before each line.", schema: apidoc.Truth()},
		{name: "since", what: "Skip the output before that second.", schema: &apidoc.Schema{Type: "string", Format: "date-time"}},
	}
}

// openPAIListParameters select jobs for clients of OpenPAI; see openpai.ParseQuery.
func openPAIListParameters() []parameter {
	several := apidoc.ListOf(apidoc.Text())
	limit := apidoc.Whole(0, openpai.MaxLimit)
	limit.Default = openpai.DefaultLimit
	return []parameter{
		{name: "username", what: "The users who submitted the jobs.", schema: several},
		{name: "vc", what: "The virtual clusters of the jobs.", schema: several},
		{name: "state", what: "The states of the jobs.", schema: several},
		{name: "jobPriority", what: "The priorities of the jobs.", schema: several},
		{name: "tagsContain", what: "Jobs with one of these tags.", schema: several},
		{name: "tagsNotContain", what: "Jobs with none of these tags.", schema: several},
		{name: "keyword", what: "A part of the name, the user, or the virtual cluster.", schema: apidoc.Text()},
		{name: "order", what: "A field, a comma, and ASC or DESC. Another field is ignored: the newest job is first.", schema: apidoc.Text()},
		{name: "offset", what: "How many jobs to leave out.", schema: apidoc.Whole(0, math.MaxInt32)},
		{name: "limit", what: "How many jobs a page has at most.", schema: limit},
		{name: "withTotalCount", what: "With true, the answer has the number of all selected jobs.", schema: apidoc.Truth()},
	}
}

func eventParameters() []parameter {
	return []parameter{{name: "type", what: "The type of the events; nothing is both.", schema: apidoc.OneOf("Normal", "Warning")}}
}

func nodesParameter() []parameter {
	return []parameter{{name: "nodes", what: "With it, also without a value, the answer has the GPUs of each machine.", schema: apidoc.Text()}}
}

func podParameters() []parameter {
	return []parameter{
		{name: "namespace", what: "The namespace of a virtual cluster.", schema: apidoc.Text()},
		{name: "labelSelector", what: "A label selector of Kubernetes.", schema: apidoc.Text()},
	}
}

func defaultParameter() []parameter {
	return []parameter{{name: "default", what: "With true, only the storages of jobs that ask for some without a name.", schema: apidoc.Truth()}}
}

func tailParameters() []parameter {
	return []parameter{
		{name: "tail-mode", what: "With true, the links lead to the last lines.", schema: apidoc.Truth()},
		{name: "tailMode", what: "The same as tail-mode.", schema: apidoc.Truth()},
	}
}

func linkParameter() []parameter {
	return []parameter{{name: "link", what: "The signed link.", schema: apidoc.Text(), required: true}}
}

// partOfPath describes a part of a path in braces.
func partOfPath(name string) parameter {
	p := parameter{name: name, schema: apidoc.Text(), required: true}
	p.schema.MinLength = new(1)
	switch name {
	case "id":
		p.what, p.schema = "The job, as user~name.", apidoc.Matching(jobIDPattern())
	case "user":
		p.what, p.schema = "The name of a user.", apidoc.Matching(userPattern.String())
	case "group":
		p.what, p.schema = "The name of a group.", apidoc.Matching(groupPattern.String())
	case "job":
		p.what = "The name of a job."
	case "operation":
		p.what = "The ID of an operation on the cluster."
	case "token":
		p.what = "A token, or its form in the list of tokens."
	case "vc":
		p.what = "The name of a virtual cluster."
	case "storage":
		p.what = "The name of a storage."
	case "role":
		p.what = "The name of a task role."
	case "attempt":
		p.what, p.schema = "The index of an attempt of the job.", apidoc.Whole(0, math.MaxInt)
	case "index":
		p.what, p.schema = "The index of a task in its role.", apidoc.Whole(0, math.MaxInt)
	case "taskAttempt":
		p.what, p.schema = "The index of an attempt of the task.", apidoc.Whole(0, math.MaxInt)
	}
	return p
}

// jobIDPattern is what ParseJobID reads.
func jobIDPattern() string {
	pattern := userPattern.String()
	return pattern[:len(pattern)-1] + "~.+$"
}

// taggedSchemas are what handlers check of the fields of bodies. A limit in bytes is one of
// characters as well.
func taggedSchemas() map[string]*apidoc.Schema {
	tag := apidoc.Matching("^[^,]+$")
	tag.MaxLength = new(job.MaxTag)
	password := apidoc.Text()
	password.MaxLength = new(identity.MaxPassword)
	password.Description = fmt.Sprintf("A password has %d to %d bytes.", identity.MinPassword, identity.MaxPassword)
	return map[string]*apidoc.Schema{
		"user":          apidoc.Matching(userPattern.String()),
		"group":         apidoc.Matching(groupPattern.String()),
		"password":      password,
		"tag":           tag,
		"executionType": apidoc.OneOf("STOP", "START"),
		"seconds":       apidoc.Whole(1, math.MaxInt32),
	}
}

// headerTexts describe the headers of answers.
func headerTexts() map[string]string {
	return map[string]string{
		"Location":         "The address of the job.",
		incompleteHeader:   "Why jobs that left the cluster are missing.",
		missingHeader:      "What is missing in the output.",
		attemptHeader:      "The attempt of the task whose output it is, if the request names one.",
		notStartedHeader:   "With true, the followed task waits, which is no failure.",
		"Retry-After":      "How many seconds to wait before the next request.",
		"WWW-Authenticate": "How to authenticate.",
	}
}

// failureTexts describe the codes of errors.
func failureTexts() map[int]string {
	return map[int]string{
		http.StatusBadRequest:          "The request is not valid.",
		http.StatusUnauthorized:        "The request has no valid token.",
		http.StatusForbidden:           "The caller cannot do this.",
		http.StatusNotFound:            "What the request names does not exist.",
		http.StatusConflict:            "The state of what the request names forbids this, or the name is in use.",
		http.StatusTooManyRequests:     "The caller sends too many requests.",
		http.StatusInternalServerError: "The server failed.",
		http.StatusServiceUnavailable:  "The cluster cannot be read now; a later request can succeed.",
	}
}
