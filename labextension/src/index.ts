import {
  ILabShell,
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, showErrorMessage } from '@jupyterlab/apputils';
import { IDefaultFileBrowser } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { Kernel, KernelMessage } from '@jupyterlab/services';

import { sessionsIcon } from './icons';
import { request } from './request';
import { SessionsPanel } from './sidebar';
import { ContentlessModelFactory, ViewerFactory } from './viewers';

const CATEGORY = 'Cryo-EM';
// How often a notebook whose kernel does not answer is opened again, and after how long, ms.
const TRIES = 3;
const PATIENCE = 15000;
// How long JupyterLab itself waits for the widgets that a kernel has, ms.
const WIDGETS = 4000;

/**
 * Settles once the kernel has said which widgets it has, as JupyterLab asks when it opens a notebook.
 *
 * What a page says while it is made would come before the answer: JupyterLab takes that for none, asks for
 * each widget alone, and all windows on the kernel are busy with the answers.
 */
function widgets(kernel: Kernel.IKernelConnection): Promise<void> {
  return new Promise(done => {
    const heard = (
      _: Kernel.IKernelConnection,
      { msg }: Kernel.IAnyMessageArgs
    ) => {
      if (
        msg.header.msg_type === 'comm_info_reply' ||
        (KernelMessage.isCommMsgMsg(msg) &&
          msg.content.data.method === 'update_states')
      ) {
        stop();
      }
    };
    const stop = () => {
      clearTimeout(late);
      kernel.anyMessage.disconnect(heard);
      done();
    };
    const late = setTimeout(stop, WIDGETS);
    kernel.anyMessage.connect(heard);
  });
}

/**
 * The notebook that `open` opens, with all its cells run.
 *
 * In a second window on a kernel, widgets that the first page makes meanwhile can stop all that comes after
 * them from being read; a new connection knows them from the start.
 */
async function run(open: () => Promise<NotebookPanel>): Promise<NotebookPanel> {
  for (let left = TRIES; ; left--) {
    const panel = await open();
    const kernel = panel.sessionContext.session?.kernel;
    if (kernel) {
      await widgets(kernel);
    }
    const ran = NotebookActions.runAll(panel.content, panel.sessionContext);
    const late = new Promise<null>(done =>
      setTimeout(() => done(null), PATIENCE)
    );
    if (!left || (await Promise.race([ran, late])) !== null) {
      return panel;
    }
    panel.dispose();
  }
}

/** Commands, side bar, launcher cards. */
const sessions: JupyterFrontEndPlugin<void> = {
  id: 'nextpyp-nb:sessions',
  description: 'Sessions of nextpyp_nb: side bar, commands and launcher cards.',
  autoStart: true,
  requires: [ILabShell],
  optional: [ICommandPalette, ILauncher, IDefaultFileBrowser, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    shell: ILabShell,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    browser: IDefaultFileBrowser | null,
    restorer: ILayoutRestorer | null
  ) => {
    const { commands } = app;
    const open = async (asked: { [key: string]: unknown }) => {
      try {
        const folder = browser?.model.path ?? '';
        const drive = folder.includes(':');
        const { path } = await request<{ path: string }>('notebook', {
          ...asked,
          folder: drive ? '' : folder
        });
        return await run(async () => {
          const opened: NotebookPanel = await commands.execute(
            'docmanager:open',
            { path, factory: 'Notebook' }
          );
          await opened.context.ready;
          await opened.sessionContext.ready;
          return opened;
        });
      } catch (error) {
        await showErrorMessage('The notebook cannot be opened', error as Error);
      }
    };
    commands.addCommand('nextpyp-nb:new', {
      label: 'New Single-Particle Session',
      caption: 'Watch a microscope: movies in, micrographs and 2D classes out',
      icon: sessionsIcon,
      execute: () => open({ new: true })
    });
    commands.addCommand('nextpyp-nb:sessions', {
      label: 'All Sessions',
      caption: 'The list of sessions as a page',
      icon: sessionsIcon,
      execute: () => open({})
    });
    commands.addCommand('nextpyp-nb:open', {
      label: args => `Open Session ${args.session ?? '…'}`,
      isVisible: args => Boolean(args.session),
      icon: sessionsIcon,
      execute: args => open({ session: args.session })
    });

    const panel = new SessionsPanel(commands);
    shell.add(panel, 'left', { rank: 600 });
    restorer?.add(panel, panel.id);
    for (const command of ['nextpyp-nb:new', 'nextpyp-nb:sessions']) {
      palette?.addItem({ command, category: CATEGORY });
      launcher?.add({ command, category: CATEGORY, rank: 1 });
    }
  }
};

/** Previews of MRC and STAR files. */
const previews: JupyterFrontEndPlugin<void> = {
  id: 'nextpyp-nb:previews',
  description: 'Previews of MRC and STAR files, read on the server.',
  autoStart: true,
  activate: (app: JupyterFrontEnd) => {
    const registry = app.docRegistry;
    registry.addModelFactory(new ContentlessModelFactory());
    for (const [kind, label, extensions] of [
      ['mrc', 'MRC image', ['.mrc', '.mrcs']],
      ['star', 'STAR table', ['.star']]
    ] as ['mrc' | 'star', string, string[]][]) {
      registry.addFileType({
        name: kind,
        displayName: label,
        extensions,
        contentType: 'file',
        fileFormat: kind === 'mrc' ? 'base64' : 'text',
        icon: sessionsIcon
      });
      registry.addWidgetFactory(
        new ViewerFactory(kind, {
          name: label,
          modelName: 'nextpyp-nb-on-server',
          fileTypes: [kind],
          defaultFor: [kind],
          readOnly: true
        })
      );
    }
  }
};

export default [sessions, previews];
