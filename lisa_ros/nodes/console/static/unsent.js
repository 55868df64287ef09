// SPDX-License-Identifier: Apache-2.0
// Commands until the console has confirmed them. Those that were not sent come back into the form, oldest first.

export class Unsent {
  // form: {isEmpty(), has(command), fill(command)}; a command has at least {tag, text, draft}.
  constructor(form) {
    this.form = form;
    this.count = 0;
    this.forget();
  }

  forget() {
    this.sent = new Map();
    this.doubtful = []; // those of a connection that was lost
    this.returned = []; // those that wait for an empty form
    this.inForm = null; // the one that came back last
  }

  // Of what the form has. The console sends the node no command twice whose tag it knows.
  get tag() {
    return this.inForm && this.form.has(this.inForm) ? this.inForm.tag : `${Date.now()}-${Math.random()}`;
  }

  add(command) {
    const number = command.tag === this.inForm?.tag ? this.inForm.number : this.count++;
    this.sent.set(command.tag, { ...command, number });
    this.inForm = null;
  }

  // The connection was lost.
  lose() {
    this.doubtful.push(...this.sent.values());
    this.sent.clear();
  }

  // The dialogue has come since; whether commands are missing in it.
  settle() {
    const lost = this.doubtful.splice(0);
    this.comeBack(lost);
    return lost.length > 0;
  }

  refuse(tag) {
    const command = this.sent.get(tag);
    this.sent.delete(tag);
    this.comeBack(command ? [command] : []);
  }

  // It is in the dialogue; whether it had come back, and none is left now.
  confirm(tag) {
    const others = (commands) => commands.filter((one) => one.tag !== tag);
    const waited = this.returned.length;
    this.sent.delete(tag);
    this.doubtful = others(this.doubtful);
    this.returned = others(this.returned);
    if (this.inForm?.tag !== tag) return waited > this.returned.length && !this.inForm && !this.returned.length;
    if (this.form.has(this.inForm)) this.form.fill(null);
    this.inForm = null;
    this.comeBack();
    return !this.inForm;
  }

  comeBack(commands = []) {
    this.returned = [...this.returned, ...commands].sort((one, other) => one.number - other.number);
    if (!this.returned.length || !this.form.isEmpty()) return;
    this.inForm = this.returned.shift();
    this.form.fill(this.inForm);
  }
}
