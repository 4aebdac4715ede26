package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"k8s.io/klog/v2"
)

// keepInterval is how often the routes are looked at for a change.
const keepInterval = 2 * time.Second

// route is one kept route: to the pods of another machine.
type route struct {
	Pods    string `json:"pods"`    // CIDR
	Gateway string `json:"gateway"` // the other machine's address
}

// keep writes the direct routes to other machines' pods into the state file
// whenever they have changed. Routes through vxlan are not kept: they need
// what only the API knows of the other end.
func keep(ctx context.Context, path string, network, own *net.IPNet) {
	tick := time.NewTicker(keepInterval)
	defer tick.Stop()
	for {
		if err := keepOnce(path, network, own); err != nil {
			klog.ErrorS(err, "the routes were not kept for the next start")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func keepOnce(path string, network, own *net.IPNet) error {
	list, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list the routes: %w", err)
	}
	var routes []route
	for _, r := range list {
		if r.Dst == nil || r.Gw == nil || r.Flags&int(netlink.FLAG_ONLINK) != 0 || !network.Contains(r.Dst.IP) || own.Contains(r.Dst.IP) {
			continue
		}
		routes = append(routes, route{Pods: r.Dst.String(), Gateway: r.Gw.String()})
	}
	old, err := load(path)
	if err == nil && slices.Equal(old, routes) {
		return nil
	}
	return save(path, routes)
}

func load(path string) ([]route, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var routes []route
	if err := json.Unmarshal(data, &routes); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return routes, nil
}

// save replaces the state file whole.
func save(path string, routes []route) error {
	data, err := json.MarshalIndent(routes, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// restore sets the stored routes again. An existing route stays.
func restore(path string, link int) error {
	routes, err := load(path)
	if err != nil {
		return err
	}
	var failed []error
	for _, r := range routes {
		_, dst, err := net.ParseCIDR(r.Pods)
		gateway := net.ParseIP(r.Gateway)
		if err != nil || gateway == nil {
			failed = append(failed, fmt.Errorf("%s via %s is no route", r.Pods, r.Gateway))
			continue
		}
		err = netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: gateway, LinkIndex: link})
		if err != nil {
			failed = append(failed, fmt.Errorf("set the route to %s via %s: %w", r.Pods, r.Gateway, err))
		}
	}
	return errors.Join(failed...)
}
