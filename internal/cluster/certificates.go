package cluster

import (
	"bytes"
	"context"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// renewCertificates renews the certificates of the control-plane machine that are due.
// The running servers read the new files by themselves.
func (c *cluster) renewCertificates(ctx context.Context, h machine.Host) error {
	if _, err := RenewCertificates(ctx, h, inspect.RenewDue); err != nil {
		return fmt.Errorf("renew the certificates of the cluster: %w", err)
	}
	return c.useAPIName(ctx, h)
}

// RenewCertificates renews certificates of a machine, and returns the report about
// those that it has. It also returns the report if some could not be renewed.
func RenewCertificates(ctx context.Context, h machine.Host, which inspect.Renewal) (inspect.Report, error) {
	report, err := helper.Inspect(ctx, h, inspect.Request{Parts: []inspect.Part{inspect.Certificates}, Renew: which}, inspect.Certificates)
	if err == nil {
		err = report.ProblemOf(inspect.Certificates, inspect.RenewalFailed)
	}
	return report, err
}

// useAPIName points the controller manager and the scheduler at the stable
// address of the API. kubeadm points them at one API server.
func (c *cluster) useAPIName(ctx context.Context, h machine.Host) error {
	server := layout.APIServerURL(c.Config.Kubernetes.APIServersPort)
	for _, file := range []string{layout.ControllerManagerConf, layout.SchedulerConf} {
		data, err := h.ReadFile(ctx, file)
		if err != nil {
			return err
		}
		edited, err := withServer(data, func(string) (string, error) { return server, nil })
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if bytes.Equal(edited, data) {
			continue
		}
		if err := h.WriteFile(ctx, file, edited, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// withServer changes the addresses of the API in a kubeconfig.
func withServer(kubeconfig []byte, change func(server string) (string, error)) ([]byte, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, err
	}
	for _, one := range config.Clusters {
		if one.Server, err = change(one.Server); err != nil {
			return nil, err
		}
	}
	return clientcmd.Write(*config)
}
