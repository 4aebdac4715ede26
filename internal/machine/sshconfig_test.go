package machine

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseOperatorSSH(t *testing.T) {
	t.Parallel()
	o := parseOperatorSSH("host 10.0.0.1\nuserknownhostsfile /h/known_hosts /h/known_hosts2 /dev/null\nglobalknownhostsfile /etc/ssh/ssh_known_hosts\n"+
		"identityfile /h/id_ed25519\nidentityagent none\nhostkeyalias gpu\nproxyjump none\nproxycommand nc -X 5 %h %p %% %r\n"+
		"identitiesonly yes\ncertificatefile /c/%r@%h:%p-%%-cert.pub\n", Endpoint{Address: "10.0.0.1", Port: 22, User: "u"})
	want := operatorSSH{knownHosts: []string{"/h/known_hosts", "/h/known_hosts2", "/etc/ssh/ssh_known_hosts"}, identityFiles: []string{"/h/id_ed25519"}, identitiesOnly: true, noAgent: true,
		certificateFiles: []string{"/c/u@10.0.0.1:22-%-cert.pub"}, hostKeyAlias: "gpu", proxyCommand: "nc -X 5 %h %p %% %r"}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v, want %+v", o, want)
	}
}

func TestProxyOfTheOperator(t *testing.T) {
	t.Parallel()
	e := Endpoint{Address: "10.0.0.1", Port: 2222, User: "u", SSHConfig: "/c"}
	for _, test := range []struct {
		o    operatorSSH
		want string
	}{
		{operatorSSH{}, ""},
		{operatorSSH{proxyJump: "bastion"}, "ssh -F /c -o BatchMode=yes -W 10.0.0.1:2222 -- ssh://bastion"},
		{operatorSSH{proxyJump: "a@one:23,ssh://two:24"}, "ssh -F /c -o BatchMode=yes -W 10.0.0.1:2222 -J a@one:23 -- ssh://two:24"},
		{operatorSSH{proxyCommand: "nc %h %p %% %r"}, "sh -c exec nc 10.0.0.1 2222 % u"},
	} {
		if got := strings.Join(test.o.proxy(e), " "); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestOnlyOnePasswordIsAnswered(t *testing.T) {
	t.Parallel()
	e := Endpoint{Name: "m1", User: "u", Password: "secret"}
	for _, test := range []struct {
		questions []string
		echos     []bool
		want      []string
		refused   bool
	}{
		{nil, nil, nil, false},
		{[]string{"Password: "}, []bool{false}, []string{"secret"}, false},
		{[]string{"Verification code: "}, []bool{true}, nil, true},
		{[]string{"Password: ", "Code: "}, []bool{false, false}, nil, true},
	} {
		got, err := e.answerPassword("", "", test.questions, test.echos)
		if !reflect.DeepEqual(got, test.want) || (err != nil) != test.refused || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %q, %v", test.questions, got, err)
		}
	}
}
