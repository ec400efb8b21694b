package api

import (
	"encoding/json"
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// FuzzWhyRequest: a request is refused, or asks about one name within bounds.
func FuzzWhyRequest(f *testing.F) {
	f.Add([]byte(`{"agent":"a","tree":"main","cause":"0199d2a4-7c11-7b2e-8a55-0d2f6a1c9e02","incarnation":3,"up":true,"since":"2026-01-02T15:04:05Z"}`))
	f.Add([]byte(`{"agent":"a","cause":"{0199d2a4-7c11-7b2e-8a55-0d2f6a1c9e02}","chain":"task 1"}`))
	f.Add([]byte(`{"agent":">","tree":"*","decision":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var r contracts.WhyRequest
		if json.Unmarshal(body, &r) != nil {
			return
		}
		q, err := question(r)
		if err != nil {
			return
		}
		if contracts.ValidateID(q.Node) != nil || q.Tree != "" && contracts.ValidateID(q.Tree) != nil || len(q.Cause) > 36 || len(q.Decision) > 36 || len(q.Chain) > 128 {
			t.Errorf("accepted %+v", q)
		}
	})
}
