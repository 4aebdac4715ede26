package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// record is the record of a cluster: in the API for readers, and in a file on the
// control-plane machine for outages of the API.
type record struct {
	ClusterID  string                `json:"clusterId"`
	Kubernetes pai.KubernetesVersion `json:"kubernetes"`
	// Services is the release whose services were all deployed last. It stays
	// if they are stopped.
	Services pai.ServicesVersion `json:"services"`
}

func (c *cluster) recordDone(ctx context.Context, _ machine.Host, _ config.Machine, s plan.Step) (bool, error) {
	want, k, err := c.nextRecord(ctx, s)
	if err != nil {
		return false, err
	}
	inAPI, err := readRecord(ctx, k)
	if err != nil || inAPI != want {
		return false, err
	}
	records, err := c.records()
	if err != nil {
		return false, err
	}
	data, err := records.ReadFile(ctx, layout.ClusterRecordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var inFile record
	if err := json.Unmarshal(data, &inFile); err != nil {
		return false, nil // a damaged record is written again
	}
	return inFile == want, nil
}

func (c *cluster) record(ctx context.Context, _ machine.Host, _ config.Machine, s plan.Step) error {
	want, k, err := c.nextRecord(ctx, s)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		return err
	}
	records, err := c.records()
	if err != nil {
		return err
	}
	if err := records.WriteFile(ctx, layout.ClusterRecordFile, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("record what the cluster runs: %w", err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": pai.ClusterConfigMap, "namespace": pai.SystemNamespace},
		"data": map[string]any{
			"clusterId": want.ClusterID, "kubernetes": string(want.Kubernetes), "services": string(want.Services),
		},
	}}
	if _, err := k.Apply(ctx, []*unstructured.Unstructured{object}, kube.ApplyOptions{}); err != nil {
		return fmt.Errorf("record what the cluster runs: %w", err)
	}
	return nil
}

// nextRecord is the record after a step.
func (c *cluster) nextRecord(ctx context.Context, s plan.Step) (record, *kube.Client, error) {
	k, err := c.Kube(ctx)
	if err != nil {
		return record{}, nil, err
	}
	want, err := readRecord(ctx, k)
	if err != nil {
		return record{}, nil, err
	}
	want.ClusterID = c.Config.Services.Cluster.Common.ClusterID
	if s.Kind == plan.KindServices {
		want.Services = s.To.Services()
	} else {
		want.Kubernetes = s.To.Kubernetes()
	}
	return want, k, nil
}

func readRecord(ctx context.Context, k *kube.Client) (record, error) {
	cm, err := k.Clientset().CoreV1().ConfigMaps(pai.SystemNamespace).Get(ctx, pai.ClusterConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return record{}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("read what the cluster runs: %w", err)
	}
	return record{
		ClusterID: cm.Data["clusterId"], Kubernetes: pai.KubernetesVersion(cm.Data["kubernetes"]), Services: pai.ServicesVersion(cm.Data["services"]),
	}, nil
}

// Recorded reads the record of the cluster: its ID, and the Kubernetes and services that
// were deployed last. All are empty before the first
// boot and after a clean with --delete-data.
func Recorded(ctx context.Context, records Records) (clusterID string, pair pai.Pair, err error) {
	data, err := records.ReadFile(ctx, layout.ClusterRecordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", pai.Pair{}, nil
	}
	if err != nil {
		return "", pai.Pair{}, fmt.Errorf("read the record of the cluster: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return "", pai.Pair{}, fmt.Errorf("read the record of the cluster (%s): %w", layout.ClusterRecordFile, err)
	}
	return r.ClusterID, pai.Pair{Services: r.Services, Kubernetes: r.Kubernetes}, nil
}
