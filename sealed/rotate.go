package sealed

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/authprofile/authprofile"
)

// Progress says how far [Rotate], [Usage] or [SealExisting] has come.
type Progress struct {
	Profiles, Grants int // seen so far
	Rewritten        int // of these, written anew
	Failed           int // of these, neither as they should be nor written anew; each was reported as an error

	// Keys counts the records that are now under each key of a Keyring, by
	// its ID, and others under keys that it does not have. It is nil for
	// other Keepers, whose keys are not known.
	Keys map[string]int

	// Done means that all records have been seen: this is the last Progress.
	Done bool

	// Unused are the retired keys of a Keyring that no profile and no grant
	// needs any more, sorted. It is known once Done, and only if none failed.
	Unused []string
}

// Rotate writes all profiles and grants of s anew, under the Keeper's present
// key, while others read and write. s is a Store that [New] has returned. It
// works while its result is ranged over:
//
//	for progress, err := range sealed.Rotate(ctx, s) {
//		if err != nil {
//			log.Print(err) // of one record: the loop goes on
//		}
//		...
//	}
//
// Progress comes about every hundred records and at the end. A record that
// cannot be read or written is reported as an [*authprofile.Error] and passed
// over. When s itself cannot be listed, or the context has ended, that error is
// the last, and the last Progress is not Done.
//
// With a [Keyring], records that are under the primary key already are left as
// they are, so that after a crash the next Rotate does only what is left. With
// other Keepers it writes every record. A record that is written anew gets a
// new Version and Updated, and is otherwise the same. A new Version of a
// profile has its price: users who are at the provider at that moment, to
// authorize it, have to begin again.
//
// To exchange the primary key of a Keyring in a running fleet:
//
//  1. Give all programs the new key, as a retired one, so that they can read
//     what others will write.
//  2. Make it the primary key of all programs, and the old one retired.
//  3. Once all run that way, Rotate.
//  4. Take the old key away when Rotate has come to its end with the key among
//     Unused, and ten minutes have passed: flows are not rotated but expire.
//
// Grants whose profile does not exist, or cannot be read, are rotated with the
// others.
func Rotate(ctx context.Context, s authprofile.Store) iter.Seq2[Progress, error] {
	return walk(ctx, s, "rotate", writeOld)
}

// Usage says which keys of a [Keyring] the profiles and grants of s are under: it
// looks at them as [Rotate] does, and writes none. The last Progress has the
// retired keys among Unused that are not needed. It decrypts nothing, so that it
// counts what is under a key that the Keyring does not have, too. Of other Keepers
// it tells nothing: Keys is nil.
func Usage(ctx context.Context, s authprofile.Store) iter.Seq2[Progress, error] {
	return walk(ctx, s, "usage", writeNone)
}

// SealExisting seals what inner kept in the clear before [New] was put around
// it; s is what New has returned. It is used once, as [Rotate] is, while no
// program uses the Store: one without New would take sealed values for the
// secrets themselves and send them to the provider. Records that are sealed
// are left as they are, and after a crash the next SealExisting goes on.
//
// It trusts what it finds in the Store. Do not make it part of every start: a
// secret that an attacker plants in the database would be sealed with the rest.
//
// Old copies of the secrets may live on in the database's files, its backups
// and its logs.
func SealExisting(ctx context.Context, s authprofile.Store) iter.Seq2[Progress, error] {
	return walk(ctx, s, "seal", writePlain)
}

// A writing says which records a walk writes.
type writing int

const (
	writeOld   writing = iota // those that are not under the Keeper's present key
	writePlain                // those that are in the clear
	writeNone
)

const (
	// pageSize is how many records are read at a time, and how many pass
	// between two reports of progress.
	pageSize = 100

	// maxConflicts is how often to try to write a record that other programs
	// keep changing.
	maxConflicts = 10
)

// A walker looks at all records of a Store, and writes some of them anew.
type walker struct {
	ctx   context.Context
	s     *store
	op    string
	ring  *Keyring // nil: another Keeper
	write writing
	yield func(Progress, error) bool
	p     Progress
	since int // records since the last report
}

func walk(ctx context.Context, s authprofile.Store, op string, write writing) iter.Seq2[Progress, error] {
	return func(yield func(Progress, error) bool) {
		sealed, ok := s.(*store)
		if !ok {
			yield(Progress{}, fmt.Errorf("sealed: %s: a %T is not a Store that sealed.New has returned", op, s))
			return
		}
		w := &walker{ctx: ctx, s: sealed, op: op, write: write, yield: yield}
		if w.ring, ok = sealed.keeper.(*Keyring); ok {
			w.p.Keys = make(map[string]int)
		}
		w.run()
	}
}

func (w *walker) run() {
	if !pages(w, w.s.profiles(), &w.p.Profiles) || !pages(w, w.s.grants(authprofile.GrantFilter{}), &w.p.Grants) {
		return
	}
	w.p.Done = true
	if w.ring != nil && w.p.Failed == 0 {
		for _, id := range w.ring.retired() {
			if w.p.Keys[id] == 0 {
				w.p.Unused = append(w.p.Unused, id)
			}
		}
	}
	w.report(nil)
}

// pages rewrites the rows of k and counts them. It returns false if the walk is
// over: the Store failed, or the caller's loop has ended.
func pages[T any](w *walker, k kind[T], count *int) bool {
	for after := (authprofile.GrantKey{}); ; {
		rows, err := k.list(w.ctx, after, pageSize)
		damaged, failed := ofRecords(err)
		if failed != nil {
			w.report(fmt.Errorf("sealed: %s: %w", w.op, failed))
			return false
		}
		for _, err := range damaged {
			if !w.count(count, result{}, err) {
				return false
			}
		}
		results := make([]result, len(rows))
		errs := each(len(rows), func(i int) (err error) {
			results[i], err = rewrite(w, k, rows[i])
			return err
		})
		if err := w.ctx.Err(); err != nil {
			w.report(fmt.Errorf("sealed: %s: %w", w.op, err))
			return false
		}
		for i, row := range rows {
			err := errs[i]
			if err != nil {
				err = keyed(w.op, k.key(row), err)
			}
			if !w.count(count, results[i], err) {
				return false
			}
		}
		if len(rows) < pageSize {
			return true
		}
		after = k.key(rows[len(rows)-1])
	}
}

// count adds one row's result up. It returns false if the caller's loop has
// ended.
func (w *walker) count(n *int, r result, err error) bool {
	*n++
	w.since++
	if r.rewritten {
		w.p.Rewritten++
	}
	if r.key != "" && w.p.Keys != nil {
		w.p.Keys[r.key]++
	}
	if err != nil {
		w.p.Failed++
	}
	if err != nil || w.since >= pageSize {
		return w.report(err)
	}
	return true
}

func (w *walker) report(err error) bool {
	w.since = 0
	p := w.p
	p.Keys = maps.Clone(p.Keys)
	p.Unused = slices.Clone(p.Unused)
	return w.yield(p, err)
}

// A result is what became of one row.
type result struct {
	rewritten bool
	key       string // what it is under now; empty: nothing, or not known
}

// rewrite writes a row anew if the walk is to, by its version.
func rewrite[T any](w *walker, k kind[T], row T) (result, error) {
	for range maxConflicts {
		r := k.record(row)
		state, key, err := w.state(r)
		if err != nil || state == asItShouldBe || w.write == writeNone {
			return result{key: key}, err
		}
		old := k.key(row)
		if state == isSealed {
			if err := r.open(w.ctx, k.keeper); err != nil {
				return result{key: key}, err
			}
		}
		err = put(w.ctx, k, row)
		if err == nil {
			if w.ring != nil {
				key = w.ring.primary
			}
			return result{rewritten: true, key: key}, nil
		}
		if !errors.Is(err, authprofile.ErrConflict) {
			return result{key: key}, err
		}
		switch row, err = k.get(w.ctx, old); {
		case errors.Is(err, authprofile.ErrNotFound): // deleted meanwhile
			return result{}, nil
		case err != nil:
			return result{key: key}, err
		}
	}
	return result{}, authprofile.ErrConflict
}

type state int

const (
	asItShouldBe state = iota
	isSealed           // and is to be sealed anew
	isPlain            // and is to be sealed
)

// state says what is to be done about a record, and which key it is under.
func (w *walker) state(r record) (state, string, error) {
	fields := r.sealedFields()
	if len(fields) == 0 {
		return asItShouldBe, "", nil
	}
	if w.write == writePlain && !slices.ContainsFunc(fields, field.sealed) {
		return isPlain, "", nil
	}
	wrapped, _, err := parseAll(fields)
	if err != nil {
		return 0, "", err
	}
	if w.ring == nil {
		if w.write == writePlain {
			return asItShouldBe, "", nil
		}
		return isSealed, "", nil
	}
	id, _ := keyID(wrapped)
	if w.write == writePlain || id == w.ring.primary {
		return asItShouldBe, id, nil
	}
	return isSealed, id, nil
}
