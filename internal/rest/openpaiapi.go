package rest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"
	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/openpai"
)

// openPAIPrefix is where published clients of OpenPAI look for the API. Below it, the
// paths, shapes, codes, and messages are those of OpenPAI; /api/v2 has those of PAI.
const openPAIPrefix = "/rest-server"

// maxBody is the size of a request that is not a job.
const maxBody = 64 << 10

// openPAIEndpoints are the operations of OpenPAI's REST API v2, and those that clients
// use although its document does not have them. Their paths are below openPAIPrefix.
func (h *Handler) openPAIEndpoints() []endpoint {
	const ok, created, accepted = http.StatusOK, http.StatusCreated, http.StatusAccepted
	const notFound, conflict, tooMany = http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests
	v2 := []endpoint{
		{http.MethodGet, "/info", ok, identity.Read, identity.Server, h.openPAIInfo,
			about{summary: "Describe the server", answer: infoOfOpenPAI{}}},
		{http.MethodGet, "/authn/info", ok, identity.Read, identity.Server, h.authnInfo,
			about{summary: "Describe how users log in", answer: map[string]string{}}},
		{http.MethodPost, "/authn/basic/login", ok, identity.Create, identity.Session, h.login,
			about{summary: "Log in with a user name and a password", body: loginBody{}, required: []string{"username", "password"}, answer: loginAnswer{}, failures: []int{tooMany, conflict}}},
		{http.MethodDelete, "/authn/basic/logout", ok, identity.Delete, identity.Session, h.logout,
			about{summary: "Log out, which revokes the token of the request", answer: message{}}},

		{http.MethodGet, "/tokens", ok, identity.List, identity.Token, h.listTokens,
			about{summary: "List the tokens of the caller, without what makes them valid", answer: tokenList{}}},
		{http.MethodGet, "/tokens/check", ok, identity.Read, identity.Session, h.checkToken,
			about{summary: "Show which user the token belongs to", answer: checkedToken{}}},
		{http.MethodPost, "/tokens/application", ok, identity.Create, identity.Token, h.createToken,
			about{summary: "Create an application token", answer: createdToken{}}},
		{http.MethodDelete, "/tokens/{token}", ok, identity.Delete, identity.Token, h.revokeToken,
			about{summary: "Revoke a token", answer: message{}}},
	}
	for _, users := range []string{"/users", "/user"} { // the second one is used by the portal
		v2 = append(v2,
			endpoint{http.MethodGet, users, ok, identity.List, identity.User, h.listUsers,
				about{summary: "List the users", answer: []UserInfo{}}},
			endpoint{http.MethodPost, users, created, identity.Create, identity.User, h.createUser,
				about{summary: "Create a user", body: userBody{}, required: []string{"username", "password"}, answer: message{}, failures: []int{notFound}}},
			endpoint{http.MethodPut, users, created, identity.Update, identity.User, h.updateUser,
				about{summary: "Change a user", body: changeBody[userBody]{}, required: []string{"data"}, answer: message{}, failures: []int{notFound}}},
			endpoint{http.MethodPut, users + "/me", created, identity.Update, identity.Profile, h.updateProfile,
				about{summary: "Change the own email address, extension, and password", body: changeBody[userBody]{}, required: []string{"data"}, answer: message{}, failures: []int{notFound}}},
			endpoint{http.MethodGet, users + "/{user}", ok, identity.Read, identity.User, h.getUser,
				about{summary: "Show a user", answer: UserInfo{}}},
			endpoint{http.MethodDelete, users + "/{user}", ok, identity.Delete, identity.User, h.deleteUser,
				about{summary: "Delete a user", answer: message{}}},
			endpoint{http.MethodPut, users + "/{user}/group", created, identity.Update, identity.User, h.addToGroup,
				about{summary: "Add a user to a group", body: membershipBody{}, required: []string{"groupname"}, answer: message{}}},
			endpoint{http.MethodDelete, users + "/{user}/group", created, identity.Update, identity.User, h.removeFromGroup,
				about{summary: "Remove a user from a group", body: membershipBody{}, required: []string{"groupname"}, answer: message{}}},
			endpoint{http.MethodPut, users + "/{user}/grouplist", created, identity.Update, identity.User, h.setGroups,
				about{summary: "Set the groups of a user", body: groupListBody{}, required: []string{"grouplist"}, answer: message{}}},
		)
	}
	for _, groups := range []string{"/groups", "/group"} {
		v2 = append(v2,
			endpoint{http.MethodGet, groups, ok, identity.List, identity.Group, h.listGroups,
				about{summary: "List the groups", answer: []GroupInfo{}}},
			endpoint{http.MethodPost, groups, created, identity.Create, identity.Group, h.createGroup,
				about{summary: "Create a group", body: groupBody{}, required: []string{"groupname"}, answer: message{}, failures: []int{notFound}}},
			endpoint{http.MethodPut, groups, created, identity.Update, identity.Group, h.updateGroup,
				about{summary: "Change a group", body: changeBody[groupBody]{}, required: []string{"data"}, answer: message{}, failures: []int{notFound}}},
			endpoint{http.MethodGet, groups + "/{group}", ok, identity.Read, identity.Group, h.getGroup,
				about{summary: "Show a group", answer: GroupInfo{}}},
			endpoint{http.MethodDelete, groups + "/{group}", ok, identity.Delete, identity.Group, h.deleteGroup,
				about{summary: "Delete a group", answer: message{}}},
			endpoint{http.MethodGet, groups + "/{group}/userlist", ok, identity.Read, identity.Members, h.listMembers,
				about{summary: "List the members of a group", answer: []Member{}}},
		)
	}
	v2 = append(v2,
		endpoint{http.MethodGet, "/virtual-clusters", ok, identity.List, identity.VirtualCluster, h.listVirtualClusters,
			about{summary: "List the virtual clusters, or the GPUs of the machines", query: nodesParameter(), answer: either{map[string]openpai.VirtualCluster{}, map[string]NodeUse{}}}},
		endpoint{http.MethodGet, "/virtual-clusters/{vc}", ok, identity.Read, identity.VirtualCluster, h.getVirtualCluster,
			about{summary: "Show a virtual cluster", answer: openpai.VirtualCluster{}}},
		endpoint{http.MethodGet, "/virtual-clusters/{vc}/sku-types", ok, identity.Read, identity.VirtualCluster, h.skuTypes,
			about{summary: "List the kinds of machines", answer: map[string]openpai.SKU{}}},
		endpoint{http.MethodGet, "/cluster/sku-types", ok, identity.List, identity.VirtualCluster, h.skuTypes,
			about{summary: "List the kinds of machines", answer: map[string]openpai.SKU{}}},
		endpoint{http.MethodGet, "/storages", ok, identity.List, identity.StorageList, h.listStorages,
			about{summary: "List the storages that the caller can use", answer: StorageList{}, query: defaultParameter()}},
		endpoint{http.MethodGet, "/storages/{storage}", ok, identity.Read, identity.Storage, h.getStorage,
			about{summary: "Show a storage", answer: StorageDetail{}}},
		endpoint{http.MethodGet, "/kubernetes/nodes", ok, identity.List, identity.Node, h.nodes,
			about{summary: "List the machines as Kubernetes shows them", answer: corev1.NodeList{}}},
		endpoint{http.MethodGet, "/kubernetes/pods", ok, identity.List, identity.Pod, h.pods,
			about{summary: "List the pods of jobs as Kubernetes shows them", query: podParameters(), answer: corev1.PodList{}}},
		endpoint{http.MethodGet, "/alerts", ok, identity.List, identity.Alert, noAlerts,
			about{summary: "List the alerts", answer: []struct{}{}}},

		endpoint{http.MethodPost, "/jobs", accepted, identity.Create, identity.Job, h.openPAISubmit,
			about{summary: "Submit a job", query: virtualClusterParameter(), body: []byte{}, answer: openPAISubmitted{}, headers: []string{"Location"}, failures: []int{notFound}}},
		endpoint{http.MethodGet, "/jobs", ok, identity.List, identity.JobList, h.openPAIList,
			about{summary: "List the jobs that the caller can see", query: openPAIListParameters(), answer: either{[]openpai.JobSummary{}, openpai.JobsWithCount{}}, headers: []string{incompleteHeader}}},
		endpoint{http.MethodGet, "/jobs/{id}", ok, identity.Read, identity.Job, h.openPAIDetail,
			about{summary: "Show a job with its tasks", answer: openpai.JobDetail{}}},
		endpoint{http.MethodGet, "/jobs/{id}/config", ok, identity.Read, identity.Job, ofJob(h.Jobs.Protocol),
			about{summary: "Show the job file as it was submitted, without its secrets", answer: []byte{}}},
		endpoint{http.MethodPut, "/jobs/{id}/executionType", accepted, identity.Update, identity.Job, h.openPAIExecutionType,
			about{summary: "Stop a job", body: executionBody{}, required: []string{"value"}, answer: message{}}},
		endpoint{http.MethodPut, "/jobs/{id}/tag", ok, identity.Update, identity.Job, h.addTag,
			about{summary: "Add a tag to a job", body: tagBody{}, required: []string{"value"}, answer: message{}}},
		endpoint{http.MethodDelete, "/jobs/{id}/tag", ok, identity.Update, identity.Job, h.removeTag,
			about{summary: "Remove a tag from a job", body: tagBody{}, required: []string{"value"}, answer: message{}}},
		endpoint{http.MethodGet, "/jobs/{id}/events", ok, identity.Read, identity.Job, h.events,
			about{summary: "List what Kubernetes reported about the tasks of a job", query: eventParameters(), answer: openpai.EventsWithCount{}}},
		endpoint{http.MethodGet, "/jobs/{id}/ssh", ok, identity.Read, identity.Job, noSSH,
			about{summary: "Show the SSH address of a job, which no job has", answer: noAnswer{}}},
		endpoint{http.MethodGet, "/jobs/{id}/attempts/{attempt}", ok, identity.Read, identity.Job, h.openPAIAttempt,
			about{summary: "Show an attempt of a job", answer: openpai.JobDetail{}}},
		endpoint{http.MethodGet, "/jobs/{id}/job-attempts", ok, identity.Read, identity.Job, h.jobAttempts,
			about{summary: "List the attempts of a job", answer: []openpai.JobAttempt{}, headers: []string{incompleteHeader}}},
		endpoint{http.MethodGet, "/jobs/{id}/job-attempts/healthz", ok, identity.Read, identity.Server, attemptsHealthy,
			about{summary: "Report that attempts can be listed", answer: plainText("")}},
		endpoint{http.MethodGet, "/jobs/{id}/job-attempts/{attempt}", ok, identity.Read, identity.Job, h.jobAttempt,
			about{summary: "Show an attempt of a job, in the shape of the list of attempts", answer: openpai.JobAttempt{}}},
		endpoint{http.MethodGet, "/jobs/{id}/attempts/{attempt}/taskRoles/{role}/taskIndex/{index}/attempts", ok, identity.Read, identity.Job, h.taskAttempts,
			about{summary: "List the attempts of a task", answer: openpai.TaskStatus{}}},
		endpoint{http.MethodGet, "/jobs/{id}/attempts/{attempt}/taskRoles/{role}/taskIndex/{index}/attempts/{taskAttempt}/logs", ok, identity.Read, identity.Job, h.taskLogs,
			about{summary: "Make links to the output of a task", query: tailParameters(), answer: outputLocations{}}},
	)
	all := []endpoint{
		// The output of a task: the link of the operation before, which has the right in it.
		{http.MethodGet, outputPath, ok, identity.Read, identity.Link, h.output,
			about{summary: "Read the output of a task that a link leads to", query: linkParameter(), answer: plainText(""), headers: []string{missingHeader}, failures: []int{notFound, conflict, tooMany}}},
		// What older clients use.
		{http.MethodGet, "/api/v1", ok, identity.Read, identity.Server, h.openPAIInfo,
			about{summary: "Describe the server", answer: infoOfOpenPAI{}}},
		{http.MethodGet, "/api/v2", ok, identity.Read, identity.Server, h.openPAIInfo,
			about{summary: "Describe the server", answer: infoOfOpenPAI{}}},
		{http.MethodGet, "/api/v1/authn/info", ok, identity.Read, identity.Server, h.authnInfo,
			about{summary: "Describe how users log in", answer: map[string]string{}}},
		{http.MethodPost, "/api/v1/token", ok, identity.Create, identity.Session, h.login,
			about{summary: "Log in with a user name and a password", body: loginBody{}, required: []string{"username", "password"}, answer: loginAnswer{}, failures: []int{tooMany, conflict}}},
		{http.MethodPost, "/api/v2/tokens", ok, identity.Create, identity.Session, h.login,
			about{summary: "Log in with a user name and a password", body: loginBody{}, required: []string{"username", "password"}, answer: loginAnswer{}, failures: []int{tooMany, conflict}}},
		{http.MethodGet, "/api/v1/user/{user}", ok, identity.Read, identity.User, h.getUser,
			about{summary: "Show a user", answer: UserInfo{}}},
		{http.MethodGet, "/api/v1/user/{user}/jobs/{job}", ok, identity.Read, identity.Job, h.jobExists,
			about{summary: "Show a job that the cluster has", answer: openpai.JobDetail{}}},
	}
	for _, e := range v2 {
		e.path = "/api/v2" + e.path
		all = append(all, e)
	}
	return all
}

// mountOpenPAI adds the routes of OpenPAI.
func (h *Handler) mountOpenPAI(r chi.Router) {
	for _, e := range h.openPAIEndpoints() {
		r.Method(e.method, openPAIPrefix+e.path, h.serve(e, h.failOpenPAI))
	}
	unknown := func(w http.ResponseWriter, req *http.Request) {
		writeJSON(w, http.StatusNotFound, openPAIError{Code: "NoApiError", PAI: pai.CodeNotFound, Message: "API for URL " + req.URL.Path + " is not found."})
	}
	r.HandleFunc(openPAIPrefix+"/*", unknown)
	r.HandleFunc(openPAIPrefix, unknown)
}

// asExpress changes requests below openPAIPrefix as OpenPAI's server reads them: a
// trailing slash is optional, and a path that is encoded in another way is the same.
// Browsers of other sites can read the answers, which need a token in a header.
func asExpress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasPrefix(req.URL.Path, openPAIPrefix+"/") {
			next.ServeHTTP(w, req)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if req.Method == http.MethodOptions {
			w.Header().Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		clone := req.Clone(req.Context())
		clone.URL.Path, clone.URL.RawPath = strings.TrimSuffix(req.URL.Path, "/"), ""
		next.ServeHTTP(w, clone)
	})
}

// message is what OpenPAI answers to a change.
type message struct {
	Message string `json:"message"`
}

// readJSON reads the body of a request, whatever its content type is.
func readJSON(req *http.Request, into any) error {
	text, err := io.ReadAll(io.LimitReader(req.Body, maxBody+1))
	if err != nil {
		return invalidParameters("read the request: %w", err)
	}
	if len(text) > maxBody {
		return invalidParameters("a request has at most %d bytes", maxBody)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return invalidParameters("the request is not valid JSON: %w", errors.New(jsonProblem(err)))
	}
	return nil
}

// jsonProblem is what is wrong, without the value: it can be a password.
func jsonProblem(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return wrong.Field + " must not be a " + strings.SplitN(wrong.Value, " ", 2)[0]
	}
	return "syntax error"
}

// number reads a number in the path.
func number(req *http.Request, name string) (int, error) {
	n, err := strconv.Atoi(chi.URLParam(req, name))
	if err != nil || n < 0 {
		return 0, invalidParameters("%s must be a whole number of at least 0", name)
	}
	return n, nil
}

func (h *Handler) accounts() (Accounts, error) {
	if h.Logins == nil {
		return Accounts{}, pai.Errorf(pai.CodeFailed, "", "this server has no accounts")
	}
	return h.Logins.Accounts, nil
}
