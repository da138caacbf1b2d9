package raspios

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
)

const (
	loginUID = 1000
	whyUser  = "user"

	// noPassword matches no password. Unlike "!", sshd takes it for an account
	// that may log in by other means whether or not it uses PAM.
	noPassword = "*"
)

// userFiles are the files that name users.
type userFiles struct {
	passwd, shadow, group, gshadow, subuid, subgid *table
}

// planUser makes the first user of the image the one of nodes.yaml: name, home,
// password, sudo, authorized keys. It ends the dialog that asks for a name on the
// first boot.
func (b *builder) planUser() {
	f := userFiles{
		passwd: parseTable(b.text("etc/passwd"), 7), shadow: parseTable(b.text("etc/shadow"), 3),
		group: parseTable(b.text("etc/group"), 4), gshadow: parseTable(b.text("etc/gshadow"), 4),
		subuid: parseTable(b.text("etc/subuid"), 3), subgid: parseTable(b.text("etc/subgid"), 3),
	}
	row := f.passwd.number(2, loginUID)
	acc, ok := parseAccount(row)
	if !ok {
		b.fail("the image has no user with uid %d in /etc/passwd that could become %q; use an image as published", loginUID, b.node.User.Name)
		return
	}
	name := b.node.User.Name
	if name == "" {
		name = acc.name
	}
	old := acc.name
	if name != old {
		if !b.renameUser(f, row, old, name) {
			return
		}
	}
	acc, _ = parseAccount(row)
	b.user = acc
	if sh := row[6]; strings.HasSuffix(sh, "/nologin") || strings.HasSuffix(sh, "/false") || sh == "" {
		row[6] = "/bin/bash"
	}
	b.password(f)
	b.sudo(f, old)
	b.writeUserFiles(f)
	b.authorizedKeys()
	b.endUserDialog()
}

// renameUser changes the name in every file that holds it, and moves the home.
func (b *builder) renameUser(f userFiles, row []string, old, name string) bool {
	if f.passwd.row(name) != nil {
		b.fail("user.name: the image has another user %q already; choose another name", name)
		return false
	}
	group := f.group.row(old)
	if group != nil && f.group.row(name) != nil {
		b.fail("user.name: the image has a group %q already; choose another name", name)
		return false
	}
	row[0] = name
	if home := row[5]; home == "/home/"+old {
		row[5] = "/home/" + name
		if b.exists("home/" + old) {
			if b.exists("home/" + name) {
				b.fail("user.name: /home/%s is there already, so /home/%s cannot be renamed to it; choose another name", name, old)
				return false
			}
			b.try(b.d.put(plan.Edit{
				Partition: plan.Root, Op: plan.Rename, From: "home/" + old, Path: "home/" + name, Why: whyUser,
			}))
		}
	}
	for _, t := range []*table{f.shadow, f.group, f.gshadow, f.subuid, f.subgid} {
		for _, r := range t.rows {
			if r[0] == old {
				r[0] = name
			}
		}
	}
	for _, r := range f.group.rows {
		r[3] = renameMember(r[3], old, name)
	}
	for _, r := range f.gshadow.rows {
		r[2] = renameMember(r[2], old, name)
		r[3] = renameMember(r[3], old, name)
	}
	b.autologin(old, name)
	return true
}

const (
	lightdmConf   = "etc/lightdm/lightdm.conf"
	gettyLogin    = unitDir + "/getty@tty1.service.d/autologin.conf"
	lightdmPrefix = "\nautologin-user="
	gettyPrefix   = "--autologin "
	stretchLogin  = unitDir + "/autologin@.service" // in the place of getty@tty1
)

// autologin keeps what logs the user in without a password working.
func (b *builder) autologin(old, name string) {
	for _, f := range []struct{ path, before, after string }{
		{gettyLogin, gettyPrefix, " "}, {stretchLogin, gettyPrefix, " "}, {lightdmConf, lightdmPrefix, "\n"},
	} {
		from, to := f.before+old+f.after, f.before+name+f.after
		if s := b.text(f.path); strings.Contains(s, from) {
			b.edit(f.path, strings.ReplaceAll(s, from, to), whyUser)
		}
	}
}

// password sets the user's hash, or locks the password.
func (b *builder) password(f userFiles) {
	hash, err := b.passwordHash()
	if err != nil {
		b.fail("user.password: %w", err)
		return
	}
	// A change on day 0 would ask for a new password at the first login.
	day := strconv.FormatInt(max(b.Time.Unix()/int64(24*time.Hour/time.Second), 1), 10)
	if row := f.shadow.row(b.user.name); row != nil {
		row[1], row[2] = hash, day
		return
	}
	f.shadow.add(b.user.name, hash, day, "0", "99999", "7", "", "", "")
}

func (b *builder) passwordHash() (string, error) {
	u := b.node.User
	switch {
	case u.PasswordHash != "":
		hash := u.PasswordHash.Reveal()
		if strings.ContainsAny(hash, ":\n\r") {
			return "", fmt.Errorf("the hash holds a colon or a line break")
		}
		for _, p := range []string{"$y$", "$gy$", "$7$", "$2a$", "$2b$", "$2y$"} {
			if strings.HasPrefix(hash, p) && b.facts.Release.before(Bullseye) {
				return "", fmt.Errorf("%s has no hashes of the kind %s…; make one with `openssl passwd -6`", b.facts.Release, p)
			}
		}
		return hash, nil
	case u.Password != "":
		salt := b.Secrets.Salt("password", b.node.Hostname, b.user.name)
		return b.Shared.derive(derivation{"crypt", u.Password.Reveal(), salt}, func() (string, error) {
			return sha512crypt(u.Password.Reveal(), salt)
		})
	}
	if len(u.AuthorizedKeys) == 0 {
		b.notice("Nobody can log in as %s: there is neither a password nor an authorized key.", b.user.name)
	}
	return noPassword, nil
}

// sha512crypt returns the crypt(5) hash "$6$…" with the default number of rounds.
func sha512crypt(password, salt string) (string, error) {
	if strings.ContainsRune(password, 0) {
		return "", fmt.Errorf("the password holds a NUL, which crypt(3) does not take")
	}
	h, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithIterations(shacrypt.IterationsDefaultOmitted))
	if err != nil {
		return "", fmt.Errorf("failed to hash: %w", err)
	}
	d, err := h.HashWithSalt(password, []byte(salt))
	if err != nil {
		return "", fmt.Errorf("failed to hash: %w", err)
	}
	return d.Encode(), nil
}

// sudo gives the user what nodes.yaml says: a rule of its own, or membership in
// group sudo, or neither.
func (b *builder) sudo(f userFiles, old string) {
	rule := func(name string) string { return "etc/sudoers.d/010_" + name + "-nopasswd" }
	for _, name := range []string{old, "pi"} {
		if name != b.user.name || b.node.Sudo != nodes.SudoNoPassword {
			b.remove(rule(name), "sudo")
		}
	}
	if b.node.Sudo == nodes.SudoNoPassword || b.node.Sudo == "" {
		b.write(rule(b.user.name), b.user.name+" ALL=(ALL) NOPASSWD: ALL\n", 0o440, "sudo")
		return
	}
	b.remove(rule(b.user.name), "sudo")
	change := addMember
	if b.node.Sudo == nodes.SudoNone {
		change = removeMember
	}
	if r := f.group.row("sudo"); r != nil {
		r[3] = change(r[3], b.user.name)
	} else if b.node.Sudo == nodes.SudoPassword {
		b.fail("sudo: the image has no group sudo; install the package sudo into it, or say sudo: none")
	}
	if r := f.gshadow.row("sudo"); r != nil {
		r[3] = change(r[3], b.user.name)
	}
	if b.node.Sudo == nodes.SudoPassword && b.node.User.Password == "" && b.node.User.PasswordHash == "" {
		b.notice("%s has no password, so sudo, which asks for it, cannot be used.", b.user.name)
	}
}

func (b *builder) writeUserFiles(f userFiles) {
	shadowGID := 0
	if r := f.group.row("shadow"); r != nil {
		shadowGID, _ = strconv.Atoi(r[2])
	}
	for _, w := range []struct {
		name   string
		t      *table
		secret bool
	}{
		{"passwd", f.passwd, false}, {"shadow", f.shadow, true}, {"group", f.group, false},
		{"gshadow", f.gshadow, true}, {"subuid", f.subuid, false}, {"subgid", f.subgid, false},
	} {
		if len(w.t.rows) == 0 {
			continue
		}
		e := plan.Edit{
			Partition: plan.Root, Path: "etc/" + w.name, Mode: 0o644,
			Content: []byte(w.t.String()), Secret: w.secret, Why: whyUser,
		}
		if w.secret {
			e.Mode, e.GID = 0o640, shadowGID
		}
		b.rewrite(e)
	}
}

// authorizedKeys replaces the user's keys by those of nodes.yaml, if it has any.
func (b *builder) authorizedKeys() {
	keys := b.node.User.AuthorizedKeys
	if len(keys) == 0 {
		return
	}
	dir := rooted(b.user.home) + "/.ssh"
	b.mkdir(dir, 0o700, b.user.uid, b.user.gid, "authorized keys")
	b.try(b.d.put(plan.Edit{
		Partition: plan.Root, Path: dir + "/authorized_keys", Op: plan.Write, Mode: 0o600,
		UID: b.user.uid, GID: b.user.gid, Content: []byte(strings.Join(keys, "\n") + "\n"), Why: "authorized keys",
	}))
}

// endUserDialog does what the dialog of the first boot would do at its end.
func (b *builder) endUserDialog() {
	for _, n := range []string{"userconf", "userconf.txt", "failed_userconf", "failed_userconf.txt"} {
		b.drop(plan.Boot, n, whyUser)
	}
	if !b.facts.UserConf {
		return
	}
	b.mask("userconfig.service", whyUser)
	const getty = "getty@tty1.service"
	if !b.d.masked(getty) {
		b.link(unitDir+"/getty.target.wants/"+getty, b.unitTarget("getty@.service"), whyUser)
	}
	b.remove("etc/ssh/sshd_config.d/rename_user.conf", whyUser)
	b.remove("var/lib/userconf-pi/autologin", whyUser)
	b.endWizard()
}

// endWizard ends the wizard that a desktop image starts instead. Its account is
// logged in at the desktop and at the console.
func (b *builder) endWizard() {
	const wizard = "rpi-first-boot-wizard"
	b.remove("etc/xdg/autostart/piwiz.desktop", whyUser)
	b.remove("etc/sudoers.d/010_wiz-nopasswd", "sudo")
	if strings.Contains(b.text(gettyLogin), gettyPrefix+wizard+" ") {
		b.remove(gettyLogin, whyUser)
	}
	from := lightdmPrefix + wizard + "\n"
	if s := b.text(lightdmConf); strings.Contains(s, from) {
		b.edit(lightdmConf, strings.ReplaceAll(s, from, "\n#autologin-user=\n"), whyUser)
		b.notice("The desktop asks for %s's password; the account %s of its wizard is left in the image, without use.", b.user.name, wizard)
	}
}
