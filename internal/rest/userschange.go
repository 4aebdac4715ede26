package rest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

func usersRef() kube.Ref {
	return kube.Ref{Version: "v1", Kind: "Secret", Namespace: pai.SystemNamespace, Name: usersSecret}
}

// UserStore is the part of a Kubernetes client that changes of users need;
// *kube.Client is one.
type UserStore interface {
	Clientset() kubernetes.Interface // for reading
	Create(ctx context.Context, obj *unstructured.Unstructured) error
	PatchUnchanged(ctx context.Context, r kube.Ref, mergePatch []byte) error
	EnsureNamespace(ctx context.Context, name string) error
}

// changeUsers changes the stored users in one write, which the API refuses after a
// concurrent one. It writes only the users that change, in the form that is stored,
// or in the given form if none is. Users that cannot be read stay as they are. It
// can call change several times.
func changeUsers(ctx context.Context, c UserStore, form UsersForm, change func(*directory) error) error {
	var sent map[string][]byte
	err := despiteConflicts(ctx, func() error { return changeUsersOnce(ctx, c, form, change, &sent) })
	if err != nil {
		err = apiErrorUnlessKnown("change the users of the REST server", err)
	}
	return err
}

// changeUsersOnce reads and writes the users once. sent is what an earlier attempt sent, and
// then what this one does. If it is stored, only the answer was lost: the change could not
// be made a second time, because it ended the token of its request, for example.
func changeUsersOnce(ctx context.Context, c UserStore, form UsersForm, change func(*directory) error, sent *map[string][]byte) error {
	secret, err := getSecret(ctx, c, usersSecret)
	if err != nil {
		return err
	}
	if found := formOf(secret); found != "" {
		form = found
	}
	before, problems := readDirectory(secret, form)
	if form == UsersDocument && problems != nil {
		return pai.Errorf(pai.CodeFailed, "repair or delete the secret", "one document has all users, and it is damaged: %w", problems)
	}
	was, err := before.encode(form)
	if err != nil {
		return err
	}
	if *sent != nil && maps.EqualFunc(was, *sent, bytes.Equal) {
		return nil
	}
	after := before.clone()
	if err := change(&after); err != nil {
		return err
	}
	after.mirrorAdmins()
	want, err := after.encode(form)
	if err != nil {
		return err
	}
	if size := sizeOf(want); size > maxUsersBytes && size > sizeOf(was) {
		return pai.Errorf(pai.CodeRefused, "delete users, tokens, or extensions that are not needed", "the users come to %d bytes; the limit is %d", size, maxUsersBytes)
	}
	*sent = want
	if secret.ResourceVersion == "" {
		return createUsers(ctx, c, want)
	}
	if maps.EqualFunc(was, want, bytes.Equal) {
		return nil
	}
	patch, err := usersPatch(secret.ResourceVersion, was, want)
	if err != nil {
		return err
	}
	return c.PatchUnchanged(ctx, usersRef(), patch)
}

func sizeOf(data map[string][]byte) (n int) {
	for key, value := range data {
		n += len(key) + len(value)
	}
	return n
}

// usersPatch is the merge patch between the data of two Secrets.
func usersPatch(version string, was, want map[string][]byte) ([]byte, error) {
	data := map[string]any{}
	for key := range was {
		if _, stays := want[key]; !stays {
			data[key] = nil
		}
	}
	for key, value := range want {
		if !bytes.Equal(was[key], value) {
			data[key] = value // as base64
		}
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": version},
		"data":     data,
	})
}

func createUsers(ctx context.Context, c UserStore, data map[string][]byte) error {
	// The boot of the cluster writes the full namespace.
	if err := c.EnsureNamespace(ctx, pai.SystemNamespace); err != nil {
		return err
	}
	content := map[string]any{}
	for key, value := range data {
		content[key] = base64.StdEncoding.EncodeToString(value)
	}
	return c.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": content,
		"metadata": map[string]any{"namespace": pai.SystemNamespace, "name": usersSecret},
	}})
}
