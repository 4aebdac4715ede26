package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// newWholeWithStorages has storages for everyone, for a group, and for administrators.
func newWholeWithStorages(t *testing.T) *whole {
	t.Helper()
	w := newWhole(t, identity.Policy{}, "default", "research")
	storages := []pai.Storage{
		{Name: "data", Type: pai.StorageNFS, Server: "nas", Path: "/data", Claim: "storage-data-1", ReadOnly: true, Default: true, Groups: []string{"default"}},
		{Name: "home", Type: pai.StorageDirectory, Path: "/mnt/home", Claim: "storage-home-2", PerUser: true, Default: true, Groups: []string{"research", "nothing-there"}},
		{Name: "secret", Type: pai.StorageNFS, Server: "nas", Path: "/secret", Claim: "storage-secret-3", Groups: []string{}},
	}
	w.handler.Storages = storages
	w.handler.Jobs.(*Core).WithStorages(storages)
	users := w.handler.Users.(*Users).WithStorages(storages)
	w.handler.Logins = NewLogins(users.Accounts(w.memory))
	w.accounts = w.handler.Logins.Accounts
	return w
}

func TestStoragesThatACallerCanUse(t *testing.T) {
	t.Parallel()
	w := newWholeWithStorages(t)
	ada, rita, boss := w.user(t, "ada", false), w.user(t, "rita", false, "research"), w.user(t, "boss", true)
	list := func(token, query string) (names []string) {
		for _, s := range answer[StorageList](t, w, http.MethodGet, "/rest-server/api/v2/storages"+query, token, "").Storages {
			names = append(names, s.Name)
		}
		return names
	}
	for _, c := range []struct {
		who, token, query string
		want              []string
	}{
		{"ada", ada, "", []string{"data"}},
		{"rita", rita, "", []string{"data", "home"}},
		{"boss", boss, "", []string{"data", "home", "secret"}},
		{"boss", boss, "?default=true", []string{"data", "home"}},
		{"boss", boss, "?default=false", []string{"data", "home", "secret"}},
	} {
		if got := list(c.token, c.query); !slices.Equal(got, c.want) {
			t.Errorf("%s%s: got %q, want %q", c.who, c.query, got, c.want)
		}
	}
	if _, err := w.accounts.UpdateGroup(t.Context(), "research", GroupChange{Rights: &RightsChange{Storages: &[]string{"secret"}}}); err != nil {
		t.Fatal(err)
	}
	if got := list(rita, ""); !slices.Equal(got, []string{"data", "home", "secret"}) {
		t.Errorf("a group with the right: got %q", got)
	}
	for path, want := range map[string]string{
		"data": `{"name":"data","share":true,"volumeName":"storage-data-1","default":true,"type":"nfs","kind":"nfs","data":{"server":"nas","path":"/data"},"readOnly":true,"mountOptions":["hard","nosuid","nodev","ro"]}`,
		"home": `{"name":"home","share":false,"volumeName":"storage-home-2","default":true,"type":"unknown","kind":"directory","data":{"path":"/mnt/home"},"readOnly":false,"mountOptions":[]}`,
	} {
		if status, text := w.ask(t, http.MethodGet, "/rest-server/api/v2/storages/"+path, rita, ""); status != http.StatusOK || text != want {
			t.Errorf("%s: got %d %s, want %s", path, status, text, want)
		}
	}
	if status, text := w.ask(t, http.MethodGet, "/rest-server/api/v2/storages/home", ada, ""); status != http.StatusForbidden || !strings.Contains(text, "ForbiddenUserError") || strings.Contains(text, "/mnt/home") {
		t.Errorf("another group: got %d %s", status, text)
	}
	info, err := w.accounts.Get(t.Context(), "rita")
	if err != nil || !slices.Equal(info.Storages, []string{"data", "home", "secret"}) {
		t.Errorf("got the storages %q of rita, %v", info.Storages, err)
	}
}

func TestJobsMountWhatTheirUserCanUse(t *testing.T) {
	t.Parallel()
	w := newWholeWithStorages(t)
	ada, rita := w.user(t, "ada", false), w.user(t, "rita", false, "research")
	text := func(name, storages string) string {
		return fmt.Sprintf(someJob, name) + "extras: {storages: " + storages + "}\n"
	}
	for i, c := range []struct {
		token, storages string
		status          int
		code            string
	}{
		{ada, "[{name: data}]", http.StatusAccepted, ""},
		{ada, "[{name: home}]", http.StatusForbidden, "ForbiddenUserError"},
		{ada, "[{name: data}, {name: secret}]", http.StatusForbidden, "ForbiddenUserError"},
		{ada, "[{name: nothing}]", http.StatusNotFound, "NoStorageError"},
		{ada, "[{name: data, mountPath: /etc}]", http.StatusBadRequest, "InvalidProtocolError"},
		{rita, "[{name: home}]", http.StatusAccepted, ""},
	} {
		status, answer := w.ask(t, http.MethodPost, "/rest-server/api/v2/jobs", c.token, text(fmt.Sprintf("job-%d", i), c.storages))
		var e openPAIError
		_ = json.Unmarshal([]byte(answer), &e)
		if status != c.status || e.Code != c.code {
			t.Errorf("%s: got %d %s, want %d %s", c.storages, status, answer, c.status, c.code)
		}
	}
	// Default storages are those that the user can use.
	for user, want := range map[string]string{"ada": "data=storage-data-1", "rita": "data=storage-data-1 home=storage-home-2/rita"} {
		token := map[string]string{"ada": ada, "rita": rita}[user]
		if status, answer := w.ask(t, http.MethodPost, "/rest-server/api/v2/jobs", token, text("by-default", "[{}]")); status != http.StatusAccepted {
			t.Fatalf("%d %s", status, answer)
		}
		set, err := w.memory.Dynamic().Resource(job.JobSets).Namespace("pai-vc-default").Get(t.Context(), job.ObjectName(user, "by-default"), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := storagesIn(t, set); got != want {
			t.Errorf("%s: got %s, want %s", user, got, want)
		}
	}
}

// storagesIn are the storages of the first task role: NAME=CLAIM/DIRECTORY.
func storagesIn(t *testing.T, set *unstructured.Unstructured) string {
	t.Helper()
	roles, _, err := unstructured.NestedSlice(set.Object, "spec", "replicatedJobs")
	if err != nil {
		t.Fatal(err)
	}
	pod, _, err := unstructured.NestedMap(roles[0].(map[string]any), "template", "spec", "template", "spec")
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]string{}
	for _, v := range pod["volumes"].([]any) {
		if claim, found, _ := unstructured.NestedString(v.(map[string]any), "persistentVolumeClaim", "claimName"); found {
			claims[v.(map[string]any)["name"].(string)] = claim
		}
	}
	var all []string
	for _, m := range pod["containers"].([]any)[0].(map[string]any)["volumeMounts"].([]any) {
		mount := m.(map[string]any)
		name := mount["name"].(string)
		if claims[name] == "" {
			continue
		}
		text := strings.TrimPrefix(name, "storage-") + "=" + claims[name]
		if directory, ok := mount["subPath"].(string); ok {
			text += "/" + directory
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}
