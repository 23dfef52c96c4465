/*
 * Labdock in JupyterLab, written by hand: a federated extension that needs no build. JupyterLab hands the container
 * its shared modules, asks it for './extension' and activates the plugins it gets. Of the shared modules only the
 * launcher's token and the icon's class are used; the rest are public commands and services of the application.
 */
(() => {
  'use strict';

  const SHOW = 'labdock:show-cell';
  const NEW = 'labdock:new-notebook';
  const MOST = 4; // toasts for one notebook; more would hide it
  const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><g class="jp-icon3" fill="none"
    stroke="#616161" stroke-width="1.8" stroke-linejoin="round" stroke-linecap="round"><path
    d="M10 3h4M11 3v6l-5.2 8.6A2.2 2.2 0 0 0 7.7 21h8.6a2.2 2.2 0 0 0 1.9-3.4L13 9V3M8.2 15h7.6"/></g></svg>`;

  let shared = {}; // JupyterLab's modules, by name and version

  /** A module that JupyterLab shares. */
  async function module(name) {
    const versions = Object.values(shared[name] || {});
    if (!versions.length) {
      throw new Error(`JupyterLab does not share ${name}`);
    }
    const factory = await versions[versions.length - 1].get();
    return factory();
  }

  /** The answer of the environment's own part of the server. */
  async function ask(app, path, body) {
    const settings = app.serviceManager.serverSettings;
    const headers = settings.token ? { Authorization: `token ${settings.token}` } : {};
    const xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/);
    if (body && xsrf) {
      headers['X-XSRFToken'] = xsrf[1];
    }
    const sent = body ? { method: 'POST', body: JSON.stringify(body) } : {};
    const url = `${settings.baseUrl}labdock/${path}`;
    const answer = await fetch(url, { ...sent, headers, credentials: 'same-origin', cache: 'no-store' });
    if (!answer.ok) {
      const said = await answer.json().catch(() => ({}));
      throw new Error(said.message || `${answer.status} ${answer.statusText}`);
    }
    return answer.json();
  }

  /** What the last export of the notebook found. */
  async function findingsOf(app, path) {
    return (await ask(app, `findings?path=${encodeURIComponent(path)}`)).findings;
  }

  function sentence(finding) {
    const place = finding.cell ? `Cell ${finding.cell}${finding.line ? `, line ${finding.line}` : ''}: ` : '';
    return `${place}${finding.message}`;
  }

  /** Activate the cell (1-based) of an open notebook and scroll to it. */
  async function showCell(app, { path, cell, line }) {
    const widget = await app.commands.execute('docmanager:open', { path });
    const notebook = widget && widget.content;
    if (!notebook || !notebook.widgets || !cell) {
      return;
    }
    await widget.context.ready;
    notebook.activeCellIndex = cell - 1;
    const target = notebook.widgets[cell - 1];
    await notebook.scrollToItem(cell - 1, 'center');
    if (target && target.editor && line) {
      notebook.mode = 'edit';
      target.editor.setCursorPosition({ line: line - 1, column: 0 });
      target.editor.focus();
    }
  }

  /** One toast a finding, with a button that leads to its cell. */
  class Toasts {
    constructor(app) {
      this.app = app;
      this.shown = new Map(); // path -> { key, ids }
    }

    async show(path, findings) {
      const before = this.shown.get(path);
      const key = JSON.stringify(findings);
      const serious = findings.some(finding => finding.severity === 'error');
      if (before && before.key === key && !serious) {
        return; // every autosave would repeat it
      }
      await this.dismiss(before);
      const ids = [];
      for (const finding of findings.slice(0, MOST)) {
        ids.push(await this.toast(path, finding));
      }
      this.shown.set(path, { key, ids });
      if (!findings.length && before && before.ids.length) {
        const name = path.split('/').pop().replace(/\.ipynb$/, '');
        await this.notify(`Module ${name} is exported, nothing left to correct.`, 'success', { autoClose: 4000 });
      }
    }

    toast(path, finding) {
      const args = { path, cell: finding.cell, line: finding.line };
      const actions = finding.cell
        ? [{ label: `Show cell ${finding.cell}`, caption: finding.remedy, commandId: SHOW, args, displayType: 'accent' }]
        : [];
      const kind = { error: 'error', warning: 'warning' }[finding.severity] || 'info';
      const text = finding.cell ? sentence(finding) : `${sentence(finding)} ${finding.remedy}`;
      return this.notify(text, kind, { autoClose: kind === 'error' ? false : 12000, actions });
    }

    notify(message, type, options) {
      return this.app.commands.execute('apputils:notify', { message, type, options });
    }

    async dismiss(before) {
      for (const id of before ? before.ids : []) {
        await this.app.commands.execute('apputils:dismiss-notification', { id }).catch(() => undefined);
      }
    }
  }

  const plugin = {
    id: 'labdock:findings',
    description: 'Shows what the export of a notebook to a module found.',
    autoStart: true,
    requires: [],
    activate: app => {
      const toasts = new Toasts(app);
      app.commands.addCommand(SHOW, { label: 'Show the cell of a finding', execute: args => showCell(app, args) });
      app.serviceManager.contents.fileChanged.connect((_, change) => {
        const path = change.newValue && change.newValue.path;
        if ((change.type !== 'save' && change.type !== 'rename') || !path || !path.endsWith('.ipynb')) {
          return;
        }
        findingsOf(app, path)
          .then(findings => toasts.show(path, findings))
          .catch(error => console.error(`labdock: the findings of ${path} could not be read`, error));
      });
    }
  };

  /** A notebook of that kind in the folder that the launcher stands for, opened. */
  async function newNotebook(app, { kind, cwd }) {
    try {
      const { path } = await ask(app, 'notebooks', { kind, folder: cwd || '' });
      app.commands.execute('filebrowser:refresh').catch(() => undefined);
      return await app.commands.execute('docmanager:open', { path });
    } catch (error) {
      await app.commands.execute('apputils:notify', { message: `No new notebook: ${error.message}`, type: 'error' });
    }
  }

  /** The plugin that puts a card for each kind of notebook into the launcher. */
  async function launcherPlugin() {
    const { ILauncher } = await module('@jupyterlab/launcher');
    const { LabIcon } = await module('@jupyterlab/ui-components');
    const icon = new LabIcon({ name: 'labdock:module', svgstr: ICON });
    return {
      id: 'labdock:launcher',
      description: 'Starts modules from templates.',
      autoStart: true,
      requires: [ILauncher],
      activate: (app, launcher) => {
        app.commands.addCommand(NEW, {
          label: args => args.label || 'New module from a template',
          caption: args => (args.title ? `${args.title}: a new notebook that is a module` : ''),
          icon,
          execute: args => newNotebook(app, args)
        });
        ask(app, 'notebooks')
          .then(({ kinds }) =>
            kinds.forEach(({ kind, title }, rank) => {
              const args = { kind, title, label: kind[0].toUpperCase() + kind.slice(1) };
              launcher.add({ command: NEW, category: 'Labdock', rank, args });
            })
          )
          .catch(error => console.error('labdock: the kinds of notebook could not be read', error));
      }
    };
  }

  /** Both plugins; the findings' alone where this JupyterLab shares no launcher. */
  async function plugins() {
    try {
      return [plugin, await launcherPlugin()];
    } catch (error) {
      console.warn('labdock: no templates in the launcher', error);
      return [plugin];
    }
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB.labdock = {
    init: scope => {
      shared = scope || {};
    },
    get: async name => {
      if (name !== './extension') {
        throw new Error(`labdock has no module ${name}`);
      }
      const made = await plugins();
      return () => ({ __esModule: true, default: made });
    }
  };
})();
