package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"pai.dev/pai/test/inspecttest"
)

func TestAPIIsReachedThroughSSHBehindAFirewall(t *testing.T) {
	t.Parallel()
	errDropped, errRefused := errors.New("timeout"), errors.New("refused")
	for _, test := range []struct {
		name   string
		direct []error // of the attempts
		ssh    error
		want   string // the path of each of three connections
		report bool
	}{
		{"direct", []error{nil, nil, nil}, errRefused, "direct direct direct", false},
		{"only ssh", []error{errDropped, errDropped, nil}, nil, "ssh ssh ssh", true},
		{"down", []error{errDropped, errRefused, errDropped}, errRefused, "timeout refused timeout", false},
		{"just restarted", []error{errRefused, nil, nil, nil}, nil, "direct direct direct", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			path := ""
			host := inspecttest.NewHost(t, "pai-1")
			host.Dialer = func(context.Context, string, string) (net.Conn, error) {
				path = "ssh"
				return near, test.ssh
			}
			reports := 0
			d := newAPIDialer(host, nil, func(format string, args ...any) {
				reports++
				if said := fmt.Sprintf(format, args...); !strings.Contains(said, "10.0.0.1:6443") || !strings.Contains(said, "pai-1") {
					t.Errorf("got %q, want the address and the machine", said)
				}
			})
			attempts := test.direct
			d.direct = func(context.Context, string, string) (net.Conn, error) {
				err := attempts[0]
				attempts = attempts[1:]
				if err == nil {
					path = "direct"
				}
				return near, err
			}
			var got []string
			for range 3 {
				path = ""
				if _, err := d.dial(t.Context(), "tcp", "10.0.0.1:6443"); err != nil {
					path = err.Error()
				}
				got = append(got, path)
			}
			if strings.Join(got, " ") != test.want || (reports == 1) != test.report {
				t.Errorf("got %q with %d reports, want %s", got, reports, test.want)
			}
		})
	}
}
