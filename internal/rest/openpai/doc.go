// Package openpai has the shapes of OpenPAI's REST API v2 (swagger 2.2.7): what
// published clients read and send. It turns what package job observed into them, and
// decides nothing.
package openpai
