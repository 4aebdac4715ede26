package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// acceptMetadata asks for the metadata of objects, as protobuf if the server has it.
const acceptMetadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1," +
	"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

// ListVersions lists the objects of a kind in a namespace with their names, UIDs, and
// versions, and nothing else. It is many times cheaper than a list of the objects, for
// both sides.
func (c *Client) ListVersions(ctx context.Context, r schema.GroupVersionResource, namespace string, o metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	path := []string{"/apis", r.Group, r.Version}
	if r.Group == "" {
		path = []string{"/api", r.Version}
	}
	result := c.clientset.CoreV1().RESTClient().Get().AbsPath(append(path, "namespaces", namespace, r.Resource)...).
		SpecificallyVersionedParams(&o, scheme.ParameterCodec, schema.GroupVersion{Version: "v1"}).SetHeader("Accept", acceptMetadata).Do(ctx)
	if err := result.Error(); err != nil { // Raw does not read what the API says about it
		return nil, err
	}
	body, err := result.Raw()
	if err != nil {
		return nil, fmt.Errorf("read the versions of %s: %w", r.Resource, err)
	}
	list, err := readVersions(body)
	if err != nil {
		return nil, fmt.Errorf("read the versions of %s: %w", r.Resource, err)
	}
	return list, nil
}

// protobufPrefix begins every answer in protobuf.
const protobufPrefix = "k8s\x00"

// readVersions reads an answer. Of protobuf, it skips what is not returned: the managed
// fields of an object are most of its metadata.
func readVersions(body []byte) (*metav1.PartialObjectMetadataList, error) {
	list := &metav1.PartialObjectMetadataList{}
	envelope, isProtobuf := bytes.CutPrefix(body, []byte(protobufPrefix))
	if !isProtobuf {
		return list, json.Unmarshal(body, list)
	}
	const rawOfEnvelope, metaOfList, itemsOfList = 2, 1, 2
	found := false
	err := eachField(envelope, func(n protowire.Number, raw []byte) error {
		if n != rawOfEnvelope {
			return nil
		}
		found = true
		return eachField(raw, func(n protowire.Number, value []byte) error {
			if n == metaOfList {
				return readFields(value, map[protowire.Number]*string{2: &list.ResourceVersion, 3: &list.Continue})
			}
			if n == itemsOfList {
				var item metav1.PartialObjectMetadata
				list.Items = append(list.Items, item)
				return readItem(value, &list.Items[len(list.Items)-1])
			}
			return nil
		})
	})
	if err == nil && !found {
		err = errors.New("the answer has no list")
	}
	return list, err
}

func readItem(value []byte, item *metav1.PartialObjectMetadata) error {
	const metaOfItem = 1
	return eachField(value, func(n protowire.Number, meta []byte) error {
		if n != metaOfItem {
			return nil
		}
		var uid string
		err := readFields(meta, map[protowire.Number]*string{1: &item.Name, 5: &uid, 6: &item.ResourceVersion})
		item.UID = types.UID(uid)
		return err
	})
}

// readFields reads some texts of a message by their numbers.
func readFields(message []byte, into map[protowire.Number]*string) error {
	return eachField(message, func(n protowire.Number, value []byte) error {
		if text := into[n]; text != nil {
			*text = string(value)
		}
		return nil
	})
}

// eachField calls do with each field of a message that has bytes.
func eachField(message []byte, do func(n protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return protowire.ParseError(size)
		}
		message = message[size:]
		if kind != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(n, kind, message); size < 0 {
				return protowire.ParseError(size)
			}
			message = message[size:]
			continue
		}
		value, size := protowire.ConsumeBytes(message)
		if size < 0 {
			return protowire.ParseError(size)
		}
		if err := do(n, value); err != nil {
			return err
		}
		message = message[size:]
	}
	return nil
}
