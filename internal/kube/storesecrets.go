package kube

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"pai.dev/pai/internal/pai"
)

// StoreSecrets makes the API server store each Secret again, as it is. It then encrypts
// those that another key than the first one encrypts, and leaves the others. Only names
// and versions of the Secrets leave the API server. progress gets the number of Secrets
// so far.
func (c *Client) StoreSecrets(ctx context.Context, progress func(n int)) error {
	reader, err := metadata.NewForConfig(c.RESTConfig())
	if err != nil {
		return fmt.Errorf("store the Secrets again: %w", err)
	}
	secrets := reader.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"})
	for next, n := "", 0; ; {
		var page *metav1.PartialObjectMetadataList
		err := c.retry(ctx, "list Secrets", func(ctx context.Context) (err error) {
			page, err = secrets.List(ctx, metav1.ListOptions{Limit: storedPage, Continue: next})
			return err
		})
		if err != nil {
			return err
		}
		for _, s := range page.Items {
			err := c.retry(ctx, fmt.Sprintf("store Secret %s/%s again", s.Namespace, s.Name), func(ctx context.Context) error {
				_, err := secrets.Namespace(s.Namespace).Patch(ctx, s.Name, types.MergePatchType, []byte("{}"), metav1.PatchOptions{FieldManager: pai.FieldManager})
				return ignoreNotFound(err)
			})
			if err != nil {
				return err
			}
			n++
		}
		progress(n)
		if next = page.GetContinue(); next == "" {
			return nil
		}
	}
}

// encryptionInfo is the line in which the API server reports the digest of its encryption
// configuration.
var encryptionInfo = regexp.MustCompile(`^apiserver_encryption_config_controller_last_config_info\{[^}]*\bhash="(sha256:[0-9a-f]{64})"`)

// EncryptionDigest is the digest of the encryption configuration that the API server uses,
// as keyring.Digest has it.
func (c *Client) EncryptionDigest(ctx context.Context) (string, error) {
	var text []byte
	err := c.retry(ctx, "read the metrics of the API server", func(ctx context.Context) (err error) {
		text, err = c.clientset.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, "apiserver_encryption_config") {
			if m := encryptionInfo.FindStringSubmatch(line); m != nil {
				return m[1], nil
			}
		}
	}
	return "", fmt.Errorf("the API server does not report which encryption configuration it uses")
}
