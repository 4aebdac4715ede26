package openpaisecrets

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// object is a Secret as kubectl prints it.
func object(namespace, name string, data map[string]string) string {
	raw := map[string][]byte{}
	for k, v := range data {
		raw[k] = []byte(v)
	}
	text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": raw,
		"metadata": map[string]string{"namespace": namespace, "name": name, "uid": "1"}})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func hexOf(name string) string { return hex.EncodeToString([]byte(name)) }

func listOf(items ...string) string {
	return `{"apiVersion":"v1","kind":"List","items":[` + strings.Join(items, ",") + `]}`
}

func jwt(key, payload string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func ada() string {
	return object("pai-user-v2", hexOf("ada"), map[string]string{"username": "ada", "password": "00ff", "email": "ada@example.com",
		"grouplist": `["default","vision"]`, "extension": `{"sshKeys":[]}`})
}

func TestReadUnderstandsWhatKubectlPrints(t *testing.T) {
	t.Parallel()
	vision := object("pai-group", hexOf("vision"), map[string]string{"groupname": "vision", "description": "eyes", "externalName": "x",
		"extension": `{"acls":{"admin":true,"virtualClusters":["research"],"storageConfigs":["data"]},"team":1}`})
	tokens := object("pai-user-token", hexOf("ada"), map[string]string{
		"1": jwt("their key", `{"username":"ada","application":true}`),
		"2": jwt("pai-secret", `{"username":"ada","application":true}`),
		"3": jwt("their key", `{"username":"ada","application":false,"exp":1}`),
	})
	want := Export{
		Users: []User{{Name: "ada", Email: "ada@example.com", PasswordKey: "00ff", Groups: []string{"default", "vision"},
			Extension: map[string]json.RawMessage{"sshKeys": json.RawMessage(`[]`)}}},
		Groups: []Group{{Name: "vision", Description: "eyes", ExternalName: "x", Admin: true, VirtualClusters: []string{"research"},
			Storages: []string{"data"}, Extension: map[string]json.RawMessage{"team": json.RawMessage(`1`)}}},
		Tokens: []Token{{User: "ada", Text: jwt("their key", `{"username":"ada","application":true}`)},
			{User: "ada", Text: jwt("pai-secret", `{"username":"ada","application":true}`), DefaultKey: true}},
	}
	account := `{"kind":"Secret","type":"kubernetes.io/service-account-token","metadata":{"namespace":"pai-group","name":"default-token"},"data":{}}`
	for name, file := range map[string]string{
		"lists":             listOf(ada(), account) + "\n" + listOf(vision) + "\n" + listOf(tokens),
		"single":            ada() + "\n" + vision + "\n" + tokens,
		"YAML documents":    "---\n" + ada() + "\n---\n" + vision + "\n---\n" + tokens + "\n",
		"a list of Secrets": strings.Replace(listOf(ada(), vision, tokens), `"List"`, `"SecretList"`, 1),
	} {
		got, err := Read(strings.NewReader(file))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v\nwant %+v", name, got, err, want)
		}
	}
}

// Every Secret that cannot be read is named, and nothing of what they have.
func TestReadNamesEveryProblem(t *testing.T) {
	t.Parallel()
	const hidden = "c2VjcmV0"
	file := listOf(ada(),
		object("pai-user-v2", hexOf("bob"), map[string]string{"username": "ada", "password": hidden}),
		object("pai-user-v2", hexOf("eve"), map[string]string{"username": "eve", "password": hidden, "grouplist": hidden}),
		object("pai-group", hexOf("g"), map[string]string{"groupname": "g", "extension": `{"acls":"` + hidden + `"}`}),
		object("pai-user-token", hexOf("ada"), map[string]string{"1": jwt("k", `{"username":"eve","application":true}`)}),
		object("pai-user-token", hexOf("eve"), map[string]string{"2": hidden}),
		object("pai-user-token", "zz", nil),
		object("pai-user", hexOf("ann"), map[string]string{"username": "ann", "password": hidden}),
		object("default", "other", map[string]string{"password": hidden}),
		`{"kind":"ConfigMap","metadata":{"namespace":"pai-group","name":"c"}}`,
	)
	got, err := Read(strings.NewReader(file))
	if err == nil || len(got.Users) != 1 || len(got.Groups)+len(got.Tokens) > 0 {
		t.Fatalf("got %+v, %v; want ada alone, and an error", got, err)
	}
	for _, want := range []string{`its name is not that of "ada"`, "grouplist is not valid JSON", "the rights (acls) are not valid",
		`token "1" belongs to user "eve"`, `token "2": it is not a JSON Web Token`, "its name is not that of a user",
		"releases before OpenPAI 1.0", "the namespace is none of", `it is a "ConfigMap"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %q", err, want)
		}
	}
	if strings.Contains(err.Error(), hidden) {
		t.Errorf("the error quotes data: %v", err)
	}
}

func TestReadRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"no list":       "hello",
		"damaged":       ada()[:40],
		"bad base64":    strings.Replace(ada(), `"username":"`, `"username":"!`, 1),
		"too many":      listOf(strings.Repeat(`{},`, maxSecrets) + `{}`),
		"a wrong shape": `{"kind":"List","items":{}}`,
	} {
		if got, err := Read(strings.NewReader(file)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
	if _, err := Read(&endless{}); err == nil || !strings.Contains(err.Error(), "MiB") {
		t.Errorf("an endless file: got %v, want the limit", err)
	}
	if got, err := Read(strings.NewReader("")); err != nil || len(got.Users) > 0 {
		t.Errorf("an empty file: got %+v, %v", got, err)
	}
}

// endless is a file of spaces.
type endless struct{}

func (*endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestTokensAreNeverPrinted(t *testing.T) {
	t.Parallel()
	token := Token{User: "ada", Text: "hidden"}
	text, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprint(token), fmt.Sprintf("%v %+v %#v %s", token, token, token, token), string(text)} {
		if strings.Contains(got, "hidden") {
			t.Errorf("got %q", got)
		}
	}
}

// FuzzRead reads any file without a panic, and returns only users whose Secret has their name.
func FuzzRead(f *testing.F) {
	f.Add(ada())
	f.Add(listOf(ada(), object("pai-user-token", hexOf("ada"), map[string]string{"1": jwt("k", `{"username":"ada"}`)})))
	f.Add("---\nkind: List\nitems:\n- kind: Secret\n")
	f.Fuzz(func(t *testing.T, file string) {
		got, err := Read(strings.NewReader(file))
		for _, u := range got.Users {
			if u.Name == "" {
				t.Errorf("a user without a name (%v)", err)
			}
		}
	})
}
