package authprofile

import "iter"

// pageSize is how many records are read from a Store at a time.
const pageSize = 100

// pages iterates over records, page by page, so that other calls can be made
// inside the loop. A Store may return records and an error about others: one
// that cannot be decrypted must not hide the rest.
func pages[T, K any](page func(after K) ([]T, error), key func(T) K, wrap func(error) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var after K
		for {
			list, err := page(after)
			for _, r := range list {
				if !yield(r, nil) {
					return
				}
			}
			for _, err := range unjoin(err) {
				var none T
				if !yield(none, wrap(err)) {
					return
				}
			}
			if len(list) < pageSize {
				return
			}
			after = key(list[len(list)-1])
		}
	}
}

// unjoin returns the errors that are joined in err.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
