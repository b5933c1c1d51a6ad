package authprofile

import "sync"

// resources are the profiles whose provider refuses the parameter resource (RFC
// 8707) in a renewal: some demand it there, others refuse it, and a row says so of
// few. So it is asked once with the parameter, and after a refusal for that reason,
// invalid_target, without, until the profile changes or the process ends. That
// costs nothing at a provider that refuses before it spends the refresh token. At
// one that spends it first, as oidc-provider does, the refusal is the end of that
// grant, whether it is asked again or not.
type resources struct {
	mu      sync.Mutex
	refused map[string]int64 // versions, by ID
}

// maxResources is how many profiles are remembered.
const maxResources = 10_000

func (r *resources) isRefused(p *Profile) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	version, ok := r.refused[p.ID]
	return ok && version == p.Version
}

// note notes that the provider of p has refused resource.
func (r *resources) note(p *Profile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused == nil || len(r.refused) >= maxResources {
		r.refused = make(map[string]int64)
	}
	r.refused[p.ID] = p.Version
}
