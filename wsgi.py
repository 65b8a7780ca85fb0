"""What gunicorn and flask load: the application, set up from the environment."""

import sys

from leads_service import config
from leads_service.app import create_app
from leads_service.database import embedded

try:
    app = create_app()
except (config.SettingsError, embedded.EmbeddedError) as error:
    sys.exit(str(error))
