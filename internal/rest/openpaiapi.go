package rest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
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
	v2 := []endpoint{
		{http.MethodGet, "/info", ok, identity.Read, identity.Server, h.openPAIInfo},
		{http.MethodGet, "/authn/info", ok, identity.Read, identity.Server, h.authnInfo},
		{http.MethodPost, "/authn/basic/login", ok, identity.Create, identity.Session, h.login},
		{http.MethodDelete, "/authn/basic/logout", ok, identity.Delete, identity.Session, h.logout},

		{http.MethodGet, "/tokens", ok, identity.List, identity.Token, h.listTokens},
		{http.MethodGet, "/tokens/check", ok, identity.Read, identity.Session, h.checkToken},
		{http.MethodPost, "/tokens/application", ok, identity.Create, identity.Token, h.createToken},
		{http.MethodDelete, "/tokens/{token}", ok, identity.Delete, identity.Token, h.revokeToken},
	}
	for _, users := range []string{"/users", "/user"} { // the second one is used by the portal
		v2 = append(v2,
			endpoint{http.MethodGet, users, ok, identity.List, identity.User, h.listUsers},
			endpoint{http.MethodPost, users, created, identity.Create, identity.User, h.createUser},
			endpoint{http.MethodPut, users, created, identity.Update, identity.User, h.updateUser},
			endpoint{http.MethodPut, users + "/me", created, identity.Update, identity.Profile, h.updateProfile},
			endpoint{http.MethodGet, users + "/{user}", ok, identity.Read, identity.User, h.getUser},
			endpoint{http.MethodDelete, users + "/{user}", ok, identity.Delete, identity.User, h.deleteUser},
			endpoint{http.MethodPut, users + "/{user}/group", created, identity.Update, identity.User, h.addToGroup},
			endpoint{http.MethodDelete, users + "/{user}/group", created, identity.Update, identity.User, h.removeFromGroup},
			endpoint{http.MethodPut, users + "/{user}/grouplist", created, identity.Update, identity.User, h.setGroups},
		)
	}
	for _, groups := range []string{"/groups", "/group"} {
		v2 = append(v2,
			endpoint{http.MethodGet, groups, ok, identity.List, identity.Group, h.listGroups},
			endpoint{http.MethodPost, groups, created, identity.Create, identity.Group, h.createGroup},
			endpoint{http.MethodPut, groups, created, identity.Update, identity.Group, h.updateGroup},
			endpoint{http.MethodGet, groups + "/{group}", ok, identity.Read, identity.Group, h.getGroup},
			endpoint{http.MethodDelete, groups + "/{group}", ok, identity.Delete, identity.Group, h.deleteGroup},
			endpoint{http.MethodGet, groups + "/{group}/userlist", ok, identity.Read, identity.Members, h.listMembers},
		)
	}
	v2 = append(v2,
		endpoint{http.MethodGet, "/virtual-clusters", ok, identity.List, identity.VirtualCluster, h.listVirtualClusters},
		endpoint{http.MethodGet, "/virtual-clusters/{vc}", ok, identity.Read, identity.VirtualCluster, h.getVirtualCluster},
		endpoint{http.MethodGet, "/virtual-clusters/{vc}/sku-types", ok, identity.Read, identity.VirtualCluster, h.skuTypes},
		endpoint{http.MethodGet, "/cluster/sku-types", ok, identity.List, identity.VirtualCluster, h.skuTypes},
		endpoint{http.MethodGet, "/storages", ok, identity.List, identity.StorageList, h.listStorages},
		endpoint{http.MethodGet, "/storages/{storage}", ok, identity.Read, identity.Storage, h.getStorage},
		endpoint{http.MethodGet, "/kubernetes/nodes", ok, identity.List, identity.Node, h.nodes},
		endpoint{http.MethodGet, "/kubernetes/pods", ok, identity.List, identity.Pod, h.pods},
		endpoint{http.MethodGet, "/alerts", ok, identity.List, identity.Alert, noAlerts},

		endpoint{http.MethodPost, "/jobs", accepted, identity.Create, identity.Job, h.openPAISubmit},
		endpoint{http.MethodGet, "/jobs", ok, identity.List, identity.JobList, h.openPAIList},
		endpoint{http.MethodGet, "/jobs/{id}", ok, identity.Read, identity.Job, h.openPAIDetail},
		endpoint{http.MethodGet, "/jobs/{id}/config", ok, identity.Read, identity.Job, ofJob(h.Jobs.Protocol)},
		endpoint{http.MethodPut, "/jobs/{id}/executionType", accepted, identity.Update, identity.Job, h.openPAIExecutionType},
		endpoint{http.MethodPut, "/jobs/{id}/tag", ok, identity.Update, identity.Job, h.addTag},
		endpoint{http.MethodDelete, "/jobs/{id}/tag", ok, identity.Update, identity.Job, h.removeTag},
		endpoint{http.MethodGet, "/jobs/{id}/events", ok, identity.Read, identity.Job, h.events},
		endpoint{http.MethodGet, "/jobs/{id}/ssh", ok, identity.Read, identity.Job, noSSH},
		endpoint{http.MethodGet, "/jobs/{id}/attempts/{attempt}", ok, identity.Read, identity.Job, h.openPAIAttempt},
		endpoint{http.MethodGet, "/jobs/{id}/job-attempts", ok, identity.Read, identity.Job, h.jobAttempts},
		endpoint{http.MethodGet, "/jobs/{id}/job-attempts/healthz", ok, identity.Read, identity.Server, attemptsHealthy},
		endpoint{http.MethodGet, "/jobs/{id}/job-attempts/{attempt}", ok, identity.Read, identity.Job, h.jobAttempt},
		endpoint{http.MethodGet, "/jobs/{id}/attempts/{attempt}/taskRoles/{role}/taskIndex/{index}/attempts", ok, identity.Read, identity.Job, h.taskAttempts},
		endpoint{http.MethodGet, "/jobs/{id}/attempts/{attempt}/taskRoles/{role}/taskIndex/{index}/attempts/{taskAttempt}/logs", ok, identity.Read, identity.Job, h.taskLogs},
	)
	all := []endpoint{
		// The output of a task: the link of the operation before, which has the right in it.
		{http.MethodGet, outputPath, ok, identity.Read, identity.Link, h.output},
		// What older clients use.
		{http.MethodGet, "/api/v1", ok, identity.Read, identity.Server, h.openPAIInfo},
		{http.MethodGet, "/api/v2", ok, identity.Read, identity.Server, h.openPAIInfo},
		{http.MethodGet, "/api/v1/authn/info", ok, identity.Read, identity.Server, h.authnInfo},
		{http.MethodPost, "/api/v1/token", ok, identity.Create, identity.Session, h.login},
		{http.MethodPost, "/api/v2/tokens", ok, identity.Create, identity.Session, h.login},
		{http.MethodGet, "/api/v1/user/{user}", ok, identity.Read, identity.User, h.getUser},
		{http.MethodGet, "/api/v1/user/{user}/jobs/{job}", ok, identity.Read, identity.Job, h.jobExists},
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
