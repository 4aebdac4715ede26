package check

import (
	"testing"
	"time"

	"pai.dev/pai/internal/rest"
)

func TestTokensOf(t *testing.T) {
	t.Parallel()
	now := time.Unix(1.7e9, 0)
	all := []rest.TokenInfo{
		{ID: "old", User: "admin"},
		{ID: "soon", User: "ada", Expires: now.Add(tokenWarn - time.Hour)},
		{ID: "later", User: "ada", Expires: now.Add(tokenWarn + time.Hour)},
		{ID: "over", User: "ada", Expires: now.Add(-time.Hour), Expired: true},
	}
	got := tokensOf(all, now)
	if len(got) != 2 || got[0].Target != "old of admin" || got[1].Target != "soon of ada" || got[0].Outcome != Warning || got[1].Outcome != Warning {
		t.Errorf("got %+v", got)
	}
	if got := tokensOf(all[2:], now); len(got) != 1 || got[0].Outcome != OK {
		t.Errorf("got %+v", got)
	}
}
