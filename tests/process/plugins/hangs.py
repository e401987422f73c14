"""A VM whose BuildBlock never returns: hangs.py VERSION"""

import sys
import threading

from bare_vm import PluginVM, main


class HangingVM(PluginVM):
    def BuildBlock(self, request):
        print("hanging", flush=True)
        threading.Event().wait()


main(int(sys.argv[1]), HangingVM())
