// Package browser has the tests of the portal's page in Chromium: each page's main path,
// accessibility, narrow and wide, dark and light, texts that users set, and a REST server
// that is unavailable. The portal and the handler of the REST server are the real ones; the cluster
// behind them is scripted. Run them with: hack/test.sh browser
package browser
