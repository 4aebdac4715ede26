package check

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/rest"
)

func tokenChecks() []Check {
	return []Check{{"tokens", "tokens of the REST server expire", standaloneOnly, onAPI(tokens)}}
}

// tokenWarn is how long before its end a token is reported.
const tokenWarn = 14 * 24 * time.Hour

// tokens reports tokens that do not end or end soon, and users that the REST server
// leaves out.
func tokens(ctx context.Context, _ *world, client *kube.Client) ([]Result, error) {
	all, err := rest.Tokens{Cluster: client}.List(ctx)
	if all == nil && err != nil {
		return nil, err
	}
	results := tokensOf(all, time.Now())
	if err != nil {
		results = append(results, failed("users", "repair or delete the entry with kubectl; for new tokens, run: paictl user token create",
			"the REST server leaves out users that it cannot read: %s", strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	return results, nil
}

func tokensOf(all []rest.TokenInfo, now time.Time) (results []Result) {
	for _, t := range all {
		target := fmt.Sprintf("%s of %s", t.ID, t.User)
		switch {
		case t.Expires.IsZero():
			results = append(results, warning(target, "let it end, run: paictl user token expire "+t.ID, "does not expire; it was created on %s", date(t.Created)))
		case !t.Expired && t.Expires.Sub(now) < tokenWarn:
			results = append(results, warning(target, "create another one, run: paictl user token create "+t.User, "expires on %s", date(t.Expires)))
		}
	}
	return orOkay(results, "all %d tokens expire", len(all))
}
