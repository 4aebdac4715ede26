package isolate

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// hostAddresses are all IPv4 addresses of this machine but those of its loopback.
func hostAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the addresses of this machine: %w", err)
	}
	var found []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			found = append(found, p.Addr())
		}
	}
	return sorted(found), nil
}

// publish writes all addresses of this machine into its node.
func (w *watcher) publish(ctx context.Context, node string, own []netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		AddressesAnnotation: strings.Join(texts(own[:min(len(own), maxAddresses)]), ",")}}})
	if err != nil {
		return err
	}
	if _, err := w.client.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("publish the addresses of this machine: %w", err)
	}
	return nil
}
