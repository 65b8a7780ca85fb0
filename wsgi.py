"""What gunicorn and flask load: the application, set up from the environment."""

import gc
import sys

from leads_service import config
from leads_service.app import create_app
from leads_service.database import embedded

try:
    app = create_app()
except (config.SettingsError, embedded.EmbeddedError) as error:
    sys.exit(str(error))
# The garbage collector looks no more through what stands until the end, which took a tenth of a small import's time.
gc.collect()
gc.freeze()
